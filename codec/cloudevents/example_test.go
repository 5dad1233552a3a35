package cloudevents_test

import (
	"fmt"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/cloudevents"
)

func Example() {
	type Booking struct{ Seats int }
	msg := kafka.NewMessage[Booking]().WithKey("b-7").WithValue(Booking{Seats: 2}).
		WithSource("/gateway").WithEventType("booking.create").Build()
	msg, err := cloudevents.Write(msg, cloudevents.Event{Subject: "b-7"}) // and publish it
	if err != nil {
		fmt.Println(err)
		return
	}
	event, err := cloudevents.Read(msg) // as who consumes it
	fmt.Println(event.Type, event.Source, event.Subject, err)
	// Output: booking.create /gateway b-7 <nil>
}
