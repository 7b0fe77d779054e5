package main

import (
	"fmt"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// Only listens, and says what happens until it is ended: `client quiet URL TOKEN`.
func quiet(url, token string) {
	client := centrifuge.NewJsonClient(url, centrifuge.Config{
		Token:             token,
		HandshakeTimeout:  5 * time.Second,
		MinReconnectDelay: 50 * time.Millisecond,
		MaxReconnectDelay: 500 * time.Millisecond,
	})
	subscription, err := client.NewSubscription("room/quiet")
	check(err == nil, "subscription: %v", err)
	subscription.OnSubscribed(func(centrifuge.SubscribedEvent) { fmt.Println("subscribed") })
	subscription.OnPublication(func(event centrifuge.PublicationEvent) { fmt.Printf("got %d\n", event.Offset) })
	check(subscription.Subscribe() == nil, "subscribe")
	check(client.Connect() == nil, "connect")
	select {}
}
