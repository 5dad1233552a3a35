package main

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestAnOrderIsAbout350BytesAndSurvivesJSON(t *testing.T) {
	o := newOrder(123_456, 78, fixedTime)
	encoded, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) < 330 || len(encoded) > 370 {
		t.Errorf("an order has %d bytes: %s", len(encoded), encoded)
	}
	var decoded order
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(decoded, o) || decoded.checksum() != o.checksum() {
		t.Errorf("%+v became %+v", o, decoded)
	}
	if n := customerNumber(decoded); n != 78 {
		t.Errorf("%s has number %d", decoded.Customer, n)
	}
}

func TestTheChecksumSeesEveryFieldButCreated(t *testing.T) {
	whole := newOrder(5, 7, fixedTime)
	for name, change := range map[string]func(*order){
		"ID":       func(o *order) { o.ID = "" },
		"Customer": func(o *order) { o.Customer = "customer-00008" },
		"Phone":    func(o *order) { o.Phone = "" },
		"Total":    func(o *order) { o.Total = 0 },
		"Currency": func(o *order) { o.Currency = "USD" },
		"Note":     func(o *order) { o.Note = "" },
		"Items":    func(o *order) { o.Items = o.Items[:1] },
		"Quantity": func(o *order) { o.Items = []item{{o.Items[0].SKU, 9, o.Items[0].Price}, o.Items[1]} },
	} {
		o := whole
		change(&o)
		if o.checksum() == whole.checksum() {
			t.Errorf("%s changed, and the checksum did not", name)
		}
	}
}

func TestBatchesAreTheSameEachTime(t *testing.T) {
	for _, k := range []keys{uniformKeys, zipfKeys} {
		if a, b := newBatch(k, 20_000), newBatch(k, 20_000); a != b {
			t.Errorf("%s: %+v and then %+v", k, a, b)
		}
	}
	if b := newBatch(uniformKeys, 20_000); b.Hottest != 20 {
		t.Errorf("a uniform key has %d records of 20,000", b.Hottest)
	}
	if b := newBatch(zipfKeys, 20_000); b.Hottest < 2_000 || b.Hottest > 6_000 {
		t.Errorf("Zipf's first key has %d records of 20,000", b.Hottest)
	}
}
