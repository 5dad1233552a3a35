//go:build !unix

package main

import "os/exec"

// Without process groups, only the command itself is stopped.

func ownGroup(*exec.Cmd)      {}
func terminate(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
func kill(cmd *exec.Cmd)      { _ = cmd.Process.Kill() }
