//! What presence costs, as `docs/presence.md` says.

use std::time::Duration;

use tests::engine::{Engine, http};
use tests::queues::{Served, nowhere};
use tests::standin::Standin;
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Queues};
use tidings::lookout::Lookout;
use tidings::presence::{Check, Presence};
use tidings::registry::{Connection, Consumed, Registry};
use tidings::{ConnectionId, Topic, UserId};

use crate::fanout::invocation;

struct Shop {
    registry: Registry,
    fan_out: FanOut,
    looks: Served,
}

impl Shop {
    async fn open(presence: &str) -> Self {
        let table = Engine::Embedded.table().await.unwrap();
        let (looks, lists) = (Served::start().await, Served::start().await);
        let lookout = Lookout::new(Presence::parse(presence).unwrap(), false, looks.queue());
        let registry = Registry::new(table.client_through(http()), &table.name).with_lookout(lookout);
        let limits = Limits { pushes_per_second: 1_000.0, workers: 1 };
        let sockets = Standin::start().await.sockets(Duration::from_secs(1));
        let delivery = Delivery::new(sockets, registry.clone(), limits, Clock::System);
        let queues = Queues { notifications: looks.queue(), fan_out: lists.queue(), dead_letters: nowhere() };
        Self { fan_out: FanOut::new(delivery, queues), registry, looks }
    }

    /// Does something, and what is to be looked at for it; what it consumed together.
    async fn cost<T>(&self, done: impl Future<Output = T>, count: usize) -> Consumed {
        let before = self.registry.consumed();
        done.await;
        let looks = tests::eventually("looks", Duration::from_secs(10), async || {
            let looks = self.looks.lend(600).await;
            (looks.len() == count).then_some(looks)
        });
        for message in if count == 0 { Vec::new() } else { looks.await } {
            let look = Check::parse(message.body.as_deref().unwrap()).unwrap();
            self.fan_out.look(&look, 1, &invocation("w", Duration::from_secs(5))).await.unwrap();
            self.looks.delete(&message).await;
        }
        // The next list is a second later.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        self.registry.consumed() - before
    }

    /// Write units of a user's first connection and its second, of the first's end and the second's.
    async fn life(&self, looks: usize) -> [f64; 4] {
        let connection = |id: &str| {
            let mut connection = Connection::new(ConnectionId::parse(id).unwrap());
            connection.user = Some(UserId::parse("u1").unwrap());
            connection.connected_at = tests::now();
            connection.topics = vec![Topic::parse("room/1").unwrap()];
            connection
        };
        let (one, other) = (connection("a"), connection("b"));
        let joined = [
            self.cost(self.registry.connect(&one), looks).await,
            self.cost(self.registry.connect(&other), looks).await,
        ];
        let left = [
            self.cost(self.registry.disconnect(&one.id, &one.socket), looks).await,
            self.cost(self.registry.disconnect(&other.id, &other.socket), looks).await,
        ];
        [joined[0].write, joined[1].write, left[0].write, left[1].write]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_costs_what_the_page_of_presence_says_and_nothing_where_it_is_not_kept() {
    let plain = Shop::open("[]").await.life(0).await;
    let kept = Shop::open(r#"["room/*"]"#).await.life(1).await;
    let more: Vec<_> = kept.iter().zip(plain).map(|(kept, plain)| kept - plain).collect();
    // A list costs two: it is taken in turn.
    assert_eq!(more, [5.0 + 2.0, 3.0, 3.0, 5.0 + 2.0]);
    assert_eq!(Shop::open(r#"["lobby"]"#).await.life(0).await, plain);
}
