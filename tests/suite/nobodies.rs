//! Connections whose first frame is to say who they are, and does not: each is closed after its minute, and none before.

use std::time::Duration;

use tests::engine::Engine;
use tests::now;
use tests::queues::nowhere;
use tests::standin::{Behaviour, Standin};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Queues};
use tidings::registry::Registry;

use crate::registry::{connection, made_at, registry};

struct Door {
    registry: Registry,
    standin: Standin,
    fan_out: FanOut,
}

impl Door {
    async fn open() -> Self {
        let table = Engine::Embedded.table().await.unwrap();
        // Pages are small, so that what stands on the next one is not forgotten.
        let (standin, registry) = (Standin::start().await, registry(&table).with_page_rows(2));
        let limits = Limits { pushes_per_second: 8_000.0, workers: 8 };
        let delivery = Delivery::new(standin.sockets(Duration::from_secs(1)), registry.clone(), limits, Clock::System);
        let queues = Queues { notifications: nowhere(), fan_out: nowhere(), dead_letters: nowhere() };
        Self { registry, standin, fan_out: FanOut::new(delivery, queues) }
    }

    /// Somebody who came so many milliseconds ago and has not said a word.
    async fn let_in(&self, name: &str, ago: i64) {
        let nobody = made_at(now() - ago, connection(name, None, &[]));
        self.registry.open(&nobody).await.unwrap();
        self.standin.add(name, Behaviour::Takes);
    }

    fn has_closed(&self, name: &str) -> bool {
        self.standin.used(name).is_closed
    }
}

#[tokio::test]
async fn who_says_nothing_is_closed_once_its_minute_is_over_and_not_when_the_clock_strikes() {
    let door = Door::open().await;
    for ago in [2_000, 30_000, 55_000] {
        door.let_in(&format!("new{ago}"), ago).await;
    }
    for number in 0..5 {
        door.let_in(&format!("old{number}"), 61_000 + number * 50_000).await;
    }
    door.fan_out.close_nobodies().await.unwrap();
    assert!([2_000, 30_000, 55_000].iter().all(|ago| !door.has_closed(&format!("new{ago}"))));
    assert!((0..5).all(|number| door.has_closed(&format!("old{number}"))));
    assert_eq!(door.registry.opening(now()).await.unwrap(), [], "nobody is closed twice");
}

#[tokio::test]
async fn one_that_cannot_be_closed_keeps_no_other_and_is_tried_again() {
    let door = Door::open().await;
    for number in 0..5 {
        door.let_in(&format!("c{number}"), 90_000).await;
        door.standin.fail_closing(&format!("c{number}"), u32::from(number % 2 == 0));
    }
    door.fan_out.close_nobodies().await.unwrap_err();
    assert!((0..5).all(|number| door.has_closed(&format!("c{number}")) == (number % 2 == 1)));
    door.fan_out.close_nobodies().await.unwrap();
    assert!((0..5).all(|number| door.has_closed(&format!("c{number}"))));
}
