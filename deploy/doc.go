// Package deploy holds what runs convoview: an image, one machine (compose.yaml) and
// clusters (k8s). It has no code, only tests: they build everything, read it as those do who
// would run it, hold it against the commands themselves, and run these as it says. The
// package is a module of its own, so that the tools for that stay out of the services.
package deploy
