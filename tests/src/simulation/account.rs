//! The account's quota of API Gateway: one bucket for our posts and for all that the account does besides.
//!
//! Pure: every call gets the time, in seconds since the simulation began. Whoever finds the bucket empty is answered 429,
//! us and others alike, and a refused request takes no token.

/// The bucket: API Gateway fills it by `rate` a second, and it holds `burst`.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Requests a second.
    pub rate: f64,
    /// Requests at once.
    pub burst: f64,
}

/// Most regions.
pub const LARGE: Quota = Quota { rate: 10_000.0, burst: 5_000.0 };
/// The thirteen smaller ones.
pub const SMALL: Quota = Quota { rate: 2_500.0, burst: 1_250.0 };

/// Requests of the account's other APIs.
#[derive(Debug, Clone, Copy)]
pub struct Others {
    /// From when on, in seconds.
    pub from: f64,
    /// Until when, in seconds.
    pub to: f64,
    /// How many a second.
    pub rate: f64,
}

/// When a spell begins.
#[derive(Debug, Clone, Copy)]
pub enum Begin {
    /// At a moment, in seconds.
    At(f64),
    /// With our post of this number.
    Post(u64),
}

/// A time in which API Gateway refuses what it would otherwise take.
#[derive(Debug, Clone, Copy)]
pub struct Spell {
    /// When it begins.
    pub begin: Begin,
    /// How long it lasts, in seconds.
    pub length: f64,
    /// The share of all posts that is refused.
    pub share: f64,
    /// The answer: 429 or 403.
    pub status: u16,
}

/// The account: its bucket, what else fills it, and its bad times.
#[derive(Debug)]
pub struct Account {
    quota: Quota,
    others: Vec<Others>,
    spells: Vec<Spell>,
    tokens: f64,
    /// When the bucket was looked at last.
    seen: f64,
    posts: u64,
    /// Requests of others so far.
    pub wanted_by_others: f64,
    /// Those of them that were refused.
    pub refused_to_others: f64,
}

impl Account {
    /// A full bucket.
    #[must_use]
    pub fn new(quota: Quota, others: Vec<Others>, spells: Vec<Spell>) -> Self {
        let (wanted_by_others, refused_to_others) = (0.0, 0.0);
        let (tokens, seen, posts) = (quota.burst, 0.0, 0);
        Self { quota, others, spells, tokens, seen, posts, wanted_by_others, refused_to_others }
    }

    /// What a post is answered at `now`: 200 where API Gateway would take it.
    pub fn answer(&mut self, now: f64) -> u16 {
        let wanted = self.others.iter().map(|others| others.between(self.seen, now)).sum::<f64>();
        let filled = self.quota.rate * (now - self.seen);
        self.seen = now;
        self.posts += 1;
        self.wanted_by_others += wanted;
        // Below nothing where a request got a token of which only a part was there: so no more are given than there are.
        let supply = self.tokens + filled;
        if let Some(spell) = self.spell(now).filter(|spell| fastrand::f64() < spell.share) {
            // Where all is refused, the bucket is empty.
            let left = if spell.share < 1.0 { supply - wanted } else { 0.0 };
            self.tokens = left.clamp(0.0, self.quota.burst);
            return spell.status;
        }
        let free = (supply - wanted).min(self.quota.burst);
        if free >= 1.0 {
            self.tokens = free - 1.0;
            return 200;
        }
        // Too little for all: each request has the same chance.
        let taken = if fastrand::f64() < supply / (wanted + 1.0) { 1.0 } else { 0.0 };
        let served = wanted.min((supply - taken).max(0.0));
        self.refused_to_others += wanted - served;
        self.tokens = supply - taken - served;
        if taken > 0.0 { 200 } else { 429 }
    }

    /// The spell that holds now, if one does.
    fn spell(&mut self, now: f64) -> Option<Spell> {
        for spell in &mut self.spells {
            if matches!(spell.begin, Begin::Post(number) if self.posts >= number) {
                spell.begin = Begin::At(now);
            }
        }
        self.spells.iter().copied().find(|spell| match spell.begin {
            Begin::At(begin) => (begin..begin + spell.length).contains(&now),
            Begin::Post(_) => false,
        })
    }

    /// When the last spell of those that began ends, in seconds; 0 where none did.
    #[must_use]
    pub fn last_end(&self) -> f64 {
        let ends = self.spells.iter().filter_map(|spell| match spell.begin {
            Begin::At(begin) => Some(begin + spell.length),
            Begin::Post(_) => None,
        });
        ends.fold(0.0, f64::max)
    }
}

impl Others {
    /// How many there are from one moment to another.
    fn between(&self, from: f64, to: f64) -> f64 {
        (to.min(self.to) - from.max(self.from)).max(0.0) * self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(account: &mut Account, posts: usize, from: f64, seconds: f64) -> usize {
        let moments = (0..posts).map(|post| from + seconds * post as f64 / posts as f64);
        moments.filter(|now| account.answer(*now) == 200).count()
    }

    #[test]
    fn a_full_bucket_is_taken_at_once_and_fills_by_its_rate() {
        let mut account = Account::new(SMALL, Vec::new(), Vec::new());
        assert!((1_248..=1_252).contains(&taken(&mut account, 2_000, 0.0, 1e-6)));
        let filled = taken(&mut account, 20_000, 1e-6, 2.0);
        assert!((4_980..=5_020).contains(&filled), "{filled}");
    }

    #[test]
    fn in_an_overload_we_and_others_have_the_same_chance() {
        fastrand::seed(1);
        let others = Others { from: 0.0, to: 100.0, rate: 15_000.0 };
        let mut account = Account::new(LARGE, vec![others], Vec::new());
        taken(&mut account, 5_000, 0.0, 1.0);
        // 15,000 of others and 5,000 of ours for 10,000 tokens.
        let ours = taken(&mut account, 5_000, 1.0, 1.0);
        assert!((2_300..=2_700).contains(&ours), "{ours}");
    }

    #[test]
    fn no_more_tokens_are_given_than_there_are() {
        fastrand::seed(1);
        let others = Others { from: 0.0, to: 100.0, rate: 9_000.0 };
        let mut account = Account::new(LARGE, vec![others], Vec::new());
        let ours = taken(&mut account, 50_000, 0.0, 10.0) as f64;
        let given = ours + account.wanted_by_others - account.refused_to_others;
        assert!((104_000.0..=105_001.0).contains(&given), "{given}");
    }

    #[test]
    fn a_spell_begins_with_its_post_and_leaves_an_empty_bucket() {
        let spell = Spell { begin: Begin::Post(11), length: 8.0, share: 1.0, status: 429 };
        let mut account = Account::new(LARGE, Vec::new(), vec![spell]);
        assert_eq!(taken(&mut account, 1_000, 0.0, 1.0), 10);
        assert_eq!(account.answer(7.9), 429);
        assert!((8.0..8.1).contains(&account.last_end()));
        // What filled since the last refused post is there again.
        let after = taken(&mut account, 100, 8.05, 1e-9);
        assert_eq!(after, 100);
    }

    #[test]
    fn a_spell_of_a_share_refuses_that_share() {
        fastrand::seed(1);
        let spell = Spell { begin: Begin::At(0.0), length: 10.0, share: 0.5, status: 403 };
        let mut account = Account::new(LARGE, Vec::new(), vec![spell]);
        let taken = taken(&mut account, 10_000, 0.0, 5.0);
        assert!((4_800..=5_200).contains(&taken), "{taken}");
    }
}
