package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Reader is a worker, and the generation that it reads; 0: it does not know yet.
type Reader struct {
	ID         string
	Generation int
}

// ErrSilent says that there are workers, and none of them answers.
var ErrSilent = errors.New("somebody is there who does not answer")

// Readers asks all workers which generation they read, and gives what they answer within
// a time. Its error is ErrSilent when none answers although there are some. Who is silent
// while others answer is not noticed: nobody knows how many there are.
func Readers(nc *nats.Conn, within time.Duration) ([]Reader, error) {
	subject := fmt.Sprintf("%s.%s.%s", micro.APIPrefix, micro.StatsVerb, ServiceName)
	readers, err := readers(nc, subject, within)
	if errors.Is(nc.LastError(), nats.ErrPermissionViolation) { // so nobody was asked
		err = nc.LastError()
	}
	if err != nil {
		return nil, fmt.Errorf("ask query workers on %s: %w", subject, err)
	}
	return readers, nil
}

func readers(nc *nats.Conn, subject string, within time.Duration) ([]Reader, error) {
	inbox := nc.NewInbox()
	replies, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = replies.Unsubscribe() }()
	if err := nc.PublishRequest(subject, inbox, nil); err != nil {
		return nil, err
	}
	var found []Reader
	for end := time.Now().Add(within); ; {
		m, err := replies.NextMsg(time.Until(end))
		switch {
		case errors.Is(err, nats.ErrTimeout) && len(found) == 0:
			return nil, ErrSilent
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders):
			return found, nil
		case err != nil:
			return nil, err
		}
		var said struct {
			ID        string `json:"id"`
			Endpoints []struct {
				Data statsData `json:"data"`
			} `json:"endpoints"`
		}
		if err := json.Unmarshal(m.Data, &said); err != nil {
			return nil, err
		}
		for _, e := range said.Endpoints[:min(1, len(said.Endpoints))] { // all say the same
			found = append(found, Reader{said.ID, e.Data.Generation})
		}
	}
}
