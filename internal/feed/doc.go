// Package feed carries, over NATS, what projectors have made visible to the
// query workers that keep registers in memory.
//
// A Publisher announces the records of each batch after it was written, and
// the offsets that it has now applied. A Follower folds the events of those
// records and hands them to its Handler, so that what a worker has in memory
// stays equal to what it would load. Events and not registers are sent: folding
// is the one law by which either is made, and no second encoding is needed. It also
// lets a handler pass over events that a generation leaves out.
//
// # What may go wrong, and what follows
//
// NATS may lose messages. Each announcement has a number that counts the
// messages of its projector, and ranges of offsets that continue each other; a
// number left out or a range that begins after what is known is a gap. Owners
// repeat their ranges, empty ones, every second, so that the loss of the last
// announcement is seen too. A gap, a reconnection and a slow consumer mean the
// same: what was loaded before may lack something, and Handler.Lost says so.
//
// Everything else is harmless, since merging is idempotent: repeats, projectors
// that think they still own a partition, announcements in another order.
//
// A partition of which nothing was heard for Config.Silence may have changed
// unseen. Follower.Check says so, and then nothing in memory may be relied on. So it does
// when Run has stood still for as long, and what was loaded before is lost then.
//
// # Switches
//
// Whoever has another generation of the read model read says so, too (TellSwitch), so
// that workers look at once. They would see it by themselves a little later.
package feed
