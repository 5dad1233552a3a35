package main

// turns is the order of a round. In each one another contender comes first, so that nobody always runs on a warm broker, and
// every other round goes backwards, so that nobody always runs after the same neighbour.
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
