package main

// order of turns: in each round another contender comes first, so that nobody always runs on a warm broker, or after the same
// neighbour's leftovers. Every other round goes backwards for the latter's sake.
func turns(contenders, round int) []int {
	list := make([]int, contenders)
	for i := range list {
		if round%2 == 1 {
			list[i] = (round + contenders - i) % contenders
		} else {
			list[i] = (round + i) % contenders
		}
	}
	return list
}
