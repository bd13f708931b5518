// Package stack runs the whole system as processes of this machine, on
// loopback: the sandbox, a projector and a query worker, as they are built.
// Who shows it and who measures it start it in the same way.
package stack
