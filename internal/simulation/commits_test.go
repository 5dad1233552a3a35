//go:build !synctests

package simulation

// periodicCommits: franz-go's locks stop a bubble's clock, and a periodic commit waits for one while the group rebalances. With
// the build tag synctests its locks are channels, and commits come when they come. Without it they come at handovers only.
const periodicCommits = false
