package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	customers     = 1000           // the number of keys
	manyCustomers = 10 * customers // of manyKeys
)

// order is what every record holds, as about 350 bytes of JSON. All contenders encode and decode this struct with encoding/json.
type order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"` // the record's key
	Phone    string    `json:"phone"`
	Created  time.Time `json:"created"`
	Total    float64   `json:"total"`
	Currency string    `json:"currency"`
	Note     string    `json:"note"`
	Items    []item    `json:"items"`
}

type item struct {
	SKU      string  `json:"sku"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

// What orders share is made once, so that making one costs next to nothing beside encoding it.
var (
	customerNames = makeCustomerNames()
	itemLists     = makeItemLists()
	fixedTime     = time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
)

func makeCustomerNames() []string {
	names := make([]string, manyCustomers)
	for i := range names {
		names[i] = fmt.Sprintf("customer-%05d", i)
	}
	return names
}

func makeItemLists() [][]item {
	lists := make([][]item, 16)
	for i := range lists {
		lists[i] = []item{{"sku-1029384756", 1 + i%4, 19.99}, {"sku-5647382910", 1 + i/4, 89.97}}
	}
	return lists
}

// newOrder is the order with that number. Its fields differ from those of others, so that a checksum over many tells whether
// each was decoded.
func newOrder(number, customer int, created time.Time) order {
	return order{
		ID: "order-" + strconv.Itoa(100_000_000+number), Customer: customerNames[customer], Phone: "+15550100",
		Created: created, Total: float64(number%100_000) / 100, Currency: "EUR",
		Note:  "leave it with the neighbour if nobody is at home, and ring twice",
		Items: itemLists[number%len(itemLists)],
	}
}

// checksum is over the decoded fields, but for Created: that is the clock's where latency is measured.
func (o order) checksum() uint64 {
	sum := uint64(14695981039346656037) // FNV-1a
	add := func(v uint64) { sum = (sum ^ v) * 1099511628211 }
	for _, text := range [...]string{o.ID, o.Customer, o.Phone, o.Currency} {
		for i := range len(text) {
			add(uint64(text[i]))
		}
	}
	add(uint64(len(o.Note)))
	add(math.Float64bits(o.Total))
	for _, item := range o.Items {
		add(uint64(len(item.SKU)))
		add(uint64(item.Quantity))
		add(math.Float64bits(item.Price))
	}
	return sum
}

// keys says whose the orders are.
type keys string

const (
	uniformKeys keys = "uniform" // one after another
	zipfKeys    keys = "zipf"    // few have many: the first has about a fifth of all
	manyKeys    keys = "many"    // ten times as many, one after another
)

// sequence returns a function to call once for each order, from the first on. It says the same each time.
func (k keys) sequence() func(number int) (customer int) {
	switch k {
	case zipfKeys:
		zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, customers-1)
		return func(int) int { return int(zipf.Uint64()) }
	case manyKeys:
		return func(number int) int { return number % manyCustomers }
	}
	return func(number int) int { return number % customers }
}

// batch is what a contender is to handle or publish: the first n orders.
type batch struct {
	Keys       keys
	Records    int
	Partitions int    // of the topic
	Sum        uint64 // of all checksums
	Hottest    int    // records of the key that has the most
}

func newBatch(k keys, records int) batch {
	b := batch{Keys: k, Records: records, Partitions: partitions}
	customer := k.sequence()
	var counts [manyCustomers]int
	for i := range records {
		c := customer(i)
		counts[c]++
		b.Hottest = max(b.Hottest, counts[c])
		b.Sum += newOrder(i, c, fixedTime).checksum()
	}
	return b
}

// customerNumber is the number in the customer's name.
func customerNumber(o order) int {
	n, _ := strconv.Atoi(o.Customer[len("customer-"):])
	return n
}
