// Package client asks convoview for the conversations of chat users, and hears
// what has changed in them. It is for the chat backend of one app. What requests
// and replies mean is said in docs/CONTRACT.md of the project; names here are
// the names there.
//
// A [Client] asks over a NATS connection of yours. Its methods may be called at
// the same time. The context of a call bounds it: what is left of the deadline,
// less a little for the way of the reply and at most 5 s, is the request's
// timeoutMs. What may be gone a moment later (429, 503, 504, nobody there) is
// asked again, see [Config].
//
//   - [Client.List], [Client.Profile] and [Client.Unread] make one request each.
//   - [Client.Pages] and [Client.Conversations] follow the pages of a list.
//   - [Client.Sync] keeps a [LocalList] equal to the list in convoview.
//   - [Client.Subscribe] hears of changes.
//   - [After] makes a request wait for what was written to Kafka before.
//
// Refusals are of the type [*Error], and match the error of their code: ErrNotFound
// for 404, for instance.
//
// The connection is yours to configure (TLS, credentials, servers) and to close.
// One that shall outlive its servers reconnects for ever:
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
//
// Where accounts are shared, its inboxes need a prefix that is the app's own, or the server
// does not let it hear replies (ErrForbidden): nats.CustomInboxPrefix("_INBOX.demo").
//
// This module needs Go 1.26.
package client
