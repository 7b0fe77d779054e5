//! The names that CloudFormation makes where a template gives none, and what names a service takes.
//!
//! `<stack>-<LogicalId>-<random>` is what CloudFormation writes (User Guide, "Name type"). The random part is a hash here, so
//! that a name is the same at every start.

/// How one kind of resource is named.
struct Rule {
    resource: &'static str,
    /// The longest name, in characters.
    longest: usize,
    /// The characters of a name beside letters and digits.
    signs: &'static str,
    case: Case,
    /// Whether the name of the stack stands in front.
    has_stack: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Upper,
    Lower,
    Mixed,
}

const fn rule(resource: &'static str, longest: usize, signs: &'static str, case: Case) -> Rule {
    Rule { resource, longest, signs, case, has_stack: true }
}

/// Secrets and state machines have only the logical id in front.
const fn bare(resource: &'static str, longest: usize, signs: &'static str) -> Rule {
    Rule { resource, longest, signs, case: Case::Mixed, has_stack: false }
}

const RULES: &[Rule] = &[
    rule("AWS::CloudFormation::Stack", 128, "-", Case::Upper),
    rule("AWS::DynamoDB::GlobalTable", 255, "-_.", Case::Upper),
    rule("AWS::DynamoDB::Table", 255, "-_.", Case::Upper),
    rule("AWS::Events::EventBus", 256, "-_./", Case::Mixed),
    rule("AWS::Events::Rule", 64, "-_.", Case::Mixed),
    rule("AWS::IAM::ManagedPolicy", 128, "-_+=,.@", Case::Mixed),
    rule("AWS::IAM::Role", 64, "-_+=,.@", Case::Mixed),
    rule("AWS::Kinesis::Stream", 128, "-_.", Case::Mixed),
    rule("AWS::Lambda::Function", 64, "-_", Case::Mixed),
    rule("AWS::Logs::LogGroup", 512, "-_./#", Case::Mixed),
    rule("AWS::S3::Bucket", 63, "-.", Case::Lower),
    rule("AWS::SNS::Topic", 256, "-_.", Case::Mixed),
    rule("AWS::SQS::Queue", 80, "-_.", Case::Mixed),
    rule("AWS::Serverless::Application", 128, "-", Case::Upper),
    rule("AWS::Serverless::Function", 64, "-_", Case::Mixed),
    bare("AWS::SecretsManager::Secret", 512, "-_/+=.@"),
    bare("AWS::Serverless::StateMachine", 80, "-_"),
    bare("AWS::StepFunctions::StateMachine", 80, "-_"),
];

/// How many random characters there are at the end.
const RANDOM: usize = 12;

fn rule_of(kind: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.resource == kind)
}

/// The name that CloudFormation makes for a resource of this kind, with `suffix` as its end; `None` for a kind that is known by
/// its logical id alone.
pub(super) fn generated(kind: &str, stack: &str, logical_id: &str, suffix: &str) -> Option<String> {
    let rule = rule_of(kind)?;
    let random = random(&format!("{stack}/{logical_id}"), rule.case);
    let room = rule.longest.saturating_sub(RANDOM + 1 + suffix.len());
    let front = if rule.has_stack { shortened(stack, logical_id, room) } else { cut(logical_id, room).to_owned() };
    let name = format!("{front}-{random}{suffix}");
    Some(if rule.case == Case::Lower { name.to_ascii_lowercase() } else { name })
}

/// Both parts, each cut as far as the other one leaves no room.
fn shortened(stack: &str, logical_id: &str, room: usize) -> String {
    let room = room.saturating_sub(1);
    let id = cut(logical_id, (room / 2).max(room.saturating_sub(stack.len())));
    format!("{}-{id}", cut(stack, room.saturating_sub(id.len())))
}

fn cut(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}

/// Always the same for the same text (FNV-1a, and what Steele and Vigna's `SplitMix64` does with a state for each character).
fn random(text: &str, case: Case) -> String {
    let alphabet = match case {
        Case::Upper => "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        Case::Lower => "abcdefghijklmnopqrstuvwxyz0123456789",
        Case::Mixed => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    };
    let seed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = |index: u64| {
        let mut state = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    };
    let letters = alphabet.as_bytes();
    (0..RANDOM as u64).map(|index| char::from(letters[(mixed(index) % letters.len() as u64) as usize])).collect()
}

/// What is wrong with a name that a template gives, to be put behind the property; `None` if the service takes it.
pub(super) fn problem(kind: &str, name: &str) -> Option<String> {
    let rule = rule_of(kind)?;
    let shortest = if rule.resource.starts_with("AWS::DynamoDB") || rule.case == Case::Lower { 3 } else { 1 };
    if !(shortest..=rule.longest).contains(&name.chars().count()) {
        return Some(format!("must have {shortest} to {} characters, not `{name}`", rule.longest));
    }
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || rule.signs.contains(letter);
    (!name.chars().all(is_allowed))
        .then(|| format!("must have only letters, digits and `{}`, not `{name}`", rule.signs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_stack_logical_id_and_something_random_that_never_changes() {
        let name = generated("AWS::DynamoDB::Table", "shop-dev", "DB", "").unwrap();
        let random = name.strip_prefix("shop-dev-DB-").unwrap();
        assert_eq!(random.len(), 12, "{name}");
        assert!(random.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()), "{name}");
        assert_eq!(Some(&name), generated("AWS::DynamoDB::Table", "shop-dev", "DB", "").as_ref());
        assert_ne!(Some(name), generated("AWS::DynamoDB::Table", "shop-prod", "DB", ""));
        let queue = generated("AWS::SQS::Queue", "shop-dev", "Jobs", ".fifo").unwrap();
        assert!(queue.starts_with("shop-dev-Jobs-") && queue.ends_with(".fifo"), "{queue}");
        let bucket = generated("AWS::S3::Bucket", "shop-dev", "Photos", "").unwrap();
        assert!(bucket.starts_with("shop-dev-photos-") && bucket == bucket.to_ascii_lowercase(), "{bucket}");
        let secret = generated("AWS::SecretsManager::Secret", "shop-dev", "Key", "").unwrap();
        assert!(secret.starts_with("Key-") && secret.len() == 16, "{secret}");
        assert_eq!(generated("AWS::ApiGatewayV2::Stage", "shop-dev", "Stage", ""), None);
    }

    #[test]
    fn a_name_fits_the_service() {
        for (stack, id) in [
            ("s", "i"),
            ("stack", &*"Id".repeat(99)),
            (&*"stack-".repeat(20), "Id"),
            (&*"s".repeat(99), &*"I".repeat(99)),
        ] {
            for (kind, longest) in [("AWS::Lambda::Function", 64), ("AWS::SQS::Queue", 80), ("AWS::S3::Bucket", 63)] {
                let name = generated(kind, stack, id, "").unwrap();
                assert!(name.len() <= longest && problem(kind, &name).is_none(), "{kind} {name}");
            }
        }
    }

    #[test]
    fn a_name_that_the_service_refuses_is_told() {
        let check = |kind: &str, name: &str, expected: Option<&str>| {
            assert_eq!(problem(kind, name).as_deref(), expected, "{kind} {name}");
        };
        check("AWS::DynamoDB::Table", "DB", Some("must have 3 to 255 characters, not `DB`"));
        check("AWS::DynamoDB::Table", "a b c", Some("must have only letters, digits and `-_.`, not `a b c`"));
        check("AWS::SQS::Queue", "jobs.fifo", None);
        check("AWS::Some::Thing", "?", None);
    }
}
