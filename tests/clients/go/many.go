package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// What came to all clients together.
type manyReport struct {
	Received   int      `json:"received"`
	Subscribed int      `json:"subscribed"`
	Failures   []string `json:"failures"`
}

// Many clients, each subscribed to two channels.
type crowd struct {
	sync.Mutex
	report manyReport
	last   map[string]uint64
	ready  map[string]bool
}

func (of *crowd) fails(format string, args ...any) {
	of.Lock()
	defer of.Unlock()
	of.report.Failures = append(of.report.Failures, fmt.Sprintf(format, args...))
}

func (of *crowd) follow(client *centrifuge.Client, key, channel string) {
	of.Lock()
	of.last[key] = 0
	of.Unlock()
	subscription, err := client.NewSubscription(channel)
	check(err == nil, "subscription: %v", err)
	subscription.OnSubscribed(func(event centrifuge.SubscribedEvent) {
		if event.WasRecovering && !event.Recovered {
			of.fails("%s is not recovered", key)
		}
		of.Lock()
		defer of.Unlock()
		of.report.Subscribed++
		of.ready[key] = true
	})
	subscription.OnUnsubscribed(func(event centrifuge.UnsubscribedEvent) {
		of.fails("%s is unsubscribed: %d %s", key, event.Code, event.Reason)
	})
	subscription.OnPublication(func(event centrifuge.PublicationEvent) {
		of.Lock()
		before := of.last[key]
		of.last[key] = event.Offset
		of.report.Received++
		of.Unlock()
		if event.Offset != before+1 {
			of.fails("%s: %d after %d", key, event.Offset, before)
		}
	})
	check(subscription.Subscribe() == nil, "subscribe")
}

// The subscriptions that lack something.
func (of *crowd) lacking(ends map[string]uint64, channels map[string]string) map[string]uint64 {
	of.Lock()
	defer of.Unlock()
	lacking := map[string]uint64{}
	for key, offset := range of.last {
		if offset < ends[channels[key]] {
			lacking[key] = offset
		}
	}
	return lacking
}

// Many clients, unmodified: `client many URL SECRET COUNT FIRST CHANNELS`. `subscribed` is said once all are; a line of
// standard input says where each channel ends; then each client waits until it has all of it, and a line of JSON says what
// came. An offset that is not the next one is wrong.
func manyClients(arguments []string) {
	var numbers [3]int
	for index := range numbers {
		number, err := strconv.Atoi(arguments[2+index])
		check(err == nil, "a number: %v", err)
		numbers[index] = number
	}
	url, secret = arguments[0], arguments[1]
	of := &crowd{last: map[string]uint64{}, ready: map[string]bool{}, report: manyReport{Failures: []string{}}}
	channels := map[string]string{}
	for number := numbers[1]; number < numbers[1]+numbers[0]; number++ {
		client := centrifuge.NewJsonClient(url, centrifuge.Config{
			Token:            token(fmt.Sprintf("go%d", number)),
			HandshakeTimeout: 5 * time.Second,
		})
		client.OnDisconnected(func(event centrifuge.DisconnectedEvent) {
			of.fails("%d is disconnected: %d %s", number, event.Code, event.Reason)
		})
		for _, channel := range []int{number % numbers[2], (number + 3) % numbers[2]} {
			name := fmt.Sprintf("room/%d", channel)
			key := fmt.Sprintf("%d %s", number, name)
			channels[key] = name
			of.follow(client, key, name)
		}
		check(client.Connect() == nil, "connect")
	}
	until("all subscriptions", func() bool {
		of.Lock()
		defer of.Unlock()
		return len(of.ready) == len(of.last)
	})
	fmt.Println("subscribed")
	line, err := bufio.NewReader(os.Stdin).ReadBytes('\n')
	check(err == nil, "the ends: %v", err)
	var ends map[string]uint64
	check(json.Unmarshal(line, &ends) == nil, "the ends are no JSON")
	for end := time.Now().Add(120 * time.Second); len(of.lacking(ends, channels)) > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	for key, offset := range of.lacking(ends, channels) {
		of.fails("%s ends at %d", key, offset)
	}
	of.Lock()
	defer of.Unlock()
	text, _ := json.Marshal(of.report)
	fmt.Println(string(text))
}
