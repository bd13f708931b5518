// Package erasure takes what was an erased user's out of the tables of the read model: a
// sweep of every generation whose tables are there, by hand or daily by a projector. That is
// every one that is kept, and what was left of one by who was to drop it.
//
// Replies leave erased users out at once, whatever the tables have; so nothing waits for a
// sweep, and a sweep for nothing. What comes late is written as ever and taken out by the
// next sweep.
//
// When a generation was swept is in the registry, so that of several projectors the first
// one that looks does it. Several that do it at the same time do no harm: each waits for
// what others have begun, and changes what is left then; two that look at the same moment
// change it twice.
package erasure
