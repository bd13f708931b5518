// Package rebuild makes a new generation of the read model from the topics, beside
// the live one.
//
// Projectors write everything that is new to every generation that is kept, and say
// in the registry from which offset of each partition on they do. A rebuild reads
// what is before, in a consumer group of its own, whose committed offsets say how far
// it is: killed at any time, it goes on there. Rows that both have written merge.
//
// It may begin the topics later (From), begin with the rows of the generation that is
// read (Base), or leave events out (Without). Which of it was asked for is in the
// registry, so that it stays so when it goes on.
//
// Verify compares two generations by what replies show of them, and Sample one of them
// with the topics.
package rebuild
