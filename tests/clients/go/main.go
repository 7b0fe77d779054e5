// Centrifugo's official library for Go, unmodified, against a stack: `go run . URL SECRET CUT`.
// Prints a line for each thing that holds, and ends with 1 at the first that does not. A request to CUT cuts all sockets.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

const (
	// A machine may be busy: what is too slow for the library's own five seconds would begin all over again.
	patience = 60 * time.Second
	channels = 100
)

var url, secret, cutURL = os.Args[1], os.Args[2], os.Args[3]

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

func part(value any) string {
	text, _ := json.Marshal(value)
	return base64.RawURLEncoding.EncodeToString(text)
}

func token(sub string) string {
	claims := map[string]any{"sub": sub, "exp": time.Now().Unix() + 600, "permissions": "subscribe:room/* publish:room/*"}
	body := part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return body + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func cut() {
	answer, err := http.Get(cutURL)
	check(err == nil, "cut: %v", err)
	answer.Body.Close()
}

func until(what string, test func() bool) {
	end := time.Now().Add(patience)
	for !test() {
		check(time.Now().Before(end), "not within %v: %s", patience, what)
		time.Sleep(20 * time.Millisecond)
	}
}

func connected(sub string) *centrifuge.Client {
	client := centrifuge.NewJsonClient(url, centrifuge.Config{
		Token:             token(sub),
		HandshakeTimeout:  patience,
		ReadTimeout:       patience,
		MinReconnectDelay: 50 * time.Millisecond,
		MaxReconnectDelay: 500 * time.Millisecond,
	})
	check(client.Connect() == nil, "connect")
	until("a connection", func() bool { return client.State() == centrifuge.StateConnected })
	return client
}

// What a subscription has got.
type collected struct {
	sync.Mutex
	offsets      []uint64
	subscribed   []bool
	unsubscribed []uint32
}

func collect(client *centrifuge.Client, channel string) *collected {
	of := &collected{}
	subscription, err := client.NewSubscription(channel)
	check(err == nil, "subscription: %v", err)
	subscription.OnPublication(func(event centrifuge.PublicationEvent) {
		of.Lock()
		defer of.Unlock()
		of.offsets = append(of.offsets, event.Offset)
	})
	subscription.OnSubscribed(func(event centrifuge.SubscribedEvent) {
		of.Lock()
		defer of.Unlock()
		of.subscribed = append(of.subscribed, event.Recovered)
	})
	subscription.OnUnsubscribed(func(event centrifuge.UnsubscribedEvent) {
		of.Lock()
		defer of.Unlock()
		of.unsubscribed = append(of.unsubscribed, event.Code)
	})
	check(subscription.Subscribe() == nil, "subscribe")
	return of
}

func (of *collected) count() int {
	of.Lock()
	defer of.Unlock()
	return len(of.offsets)
}

func (of *collected) times() int {
	of.Lock()
	defer of.Unlock()
	return len(of.subscribed)
}

func publish(client *centrifuge.Client, channel string) {
	until("a publish", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := client.Publish(ctx, channel, []byte(`{"a":1}`))
		return err == nil
	})
}

func recovers() {
	one, other := connected("u1"), connected("u2")
	of := collect(one, "room/go")
	until("a subscription", func() bool { return of.times() > 0 })
	for turn := 1; turn <= 3; turn++ {
		for range 5 {
			publish(other, "room/go")
		}
		cut()
		for range 5 {
			publish(other, "room/go")
		}
		until("everything", func() bool { return of.count() >= turn*10 })
	}
	time.Sleep(500 * time.Millisecond)
	// Closing a client calls handlers, which want the lock.
	of.Lock()
	offsets, times := of.offsets, len(of.subscribed)
	of.Unlock()
	last := uint64(0)
	for _, offset := range offsets {
		check(offset == last+1, "offsets %v", offsets)
		last = offset
	}
	check(times > 1, "it never came back")
	one.Close()
	other.Close()
}

func refused() {
	client := connected("u1")
	of := collect(client, "secret/a")
	until("a refusal", func() bool { of.Lock(); defer of.Unlock(); return len(of.unsubscribed) > 0 })
	check(of.unsubscribed[0] == 103, "code %d", of.unsubscribed[0])
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := client.Publish(ctx, "secret/a", []byte("1"))
	var refusal *centrifuge.Error
	check(errors.As(err, &refusal) && refusal.Code == 103, "a publish: %v", err)
	client.Close()
}

func many() {
	client := connected("u1")
	all := make([]*collected, channels)
	begin := time.Now()
	for number := range all {
		all[number] = collect(client, fmt.Sprintf("room/%d", number))
	}
	have := func(times int) func() bool {
		return func() bool {
			for _, of := range all {
				if of.times() < times {
					return false
				}
			}
			return true
		}
	}
	until("all subscriptions", have(1))
	first := time.Since(begin)
	cut()
	begin = time.Now()
	until("all again", have(2))
	fmt.Printf("%d channels: %.1f s, after a cut %.1f s\n", channels, first.Seconds(), time.Since(begin).Seconds())
	client.Close()
}

func main() {
	switch url {
	case "quiet":
		quiet(secret, cutURL)
	case "many":
		manyClients(os.Args[2:])
		return
	}
	for _, one := range []struct {
		name string
		run  func()
	}{
		{"it gets what another publishes and recovers after each cut", recovers},
		{"it is refused what its token does not permit", refused},
		{"a hundred channels are subscribed, and after a cut too", many},
	} {
		func() {
			defer func() {
				if problem := recover(); problem != nil {
					fmt.Printf("not ok %s: %v\n", one.name, problem)
					os.Exit(1)
				}
			}()
			one.run()
			fmt.Printf("ok %s\n", one.name)
		}()
	}
}
