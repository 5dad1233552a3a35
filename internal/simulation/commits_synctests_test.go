//go:build synctests

package simulation

const periodicCommits = true
