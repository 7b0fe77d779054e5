//! `tidings token`: makes a token that the authorizer takes (HS256).

#[cfg(feature = "account")]
mod aws;
mod local;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ArgGroup;
use serde_json::{Map, Value, json};
use tidings::permissions::{Permission, for_user};
use tidings::web_pubsub::{Hub, Roles};
use tidings::{Topic, UserId};

use tidings_local_dev::NOTIFY_ENDPOINT;
use tidings_local_services::net::is_aws;
use tidings_local_services::token;

use super::Failure;
use super::identity::{Identity, Named};

/// The stack's name at a local gateway.
const LOCAL_STACK: &str = "tidings-dev";

/// What the authorizer demands of a secret, in bytes.
const SHORTEST_SECRET: usize = 32;

/// Make a token for a client, signed with the stack's secret (Authentication=hs256), and print it.
///
/// Without --stack, --secret-id and --secret-file the secret of the `tidings dev` of this machine is used; it is new at
/// every start. Whoever has a token is its user until it expires. With `--for webpubsub` it is one for a client of Azure Web
/// PubSub, signed with the key of the connection string.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("secret").args(["stack", "secret_id", "secret_file"]))]
pub(super) struct Arguments {
    /// The user that the token names; a client of Azure Web PubSub may have none
    #[arg(long, value_parser = |name: &str| UserId::parse(name), required_unless_present = "hub")]
    user: Option<UserId>,
    /// What the user may do: subscribe:PATTERN or publish:PATTERN, where `*` is one segment of a topic and `**` the rest;
    /// repeatable [default: the stack's DefaultPermissions]
    #[arg(long = "allow", value_name = "PERMISSION", value_parser = permission)]
    permissions: Vec<String>,
    /// For clients of another protocol [default: tidings.v1.json and raw, and Centrifugo's clients take the same]
    #[arg(long = "for", value_name = "PROTOCOL", value_enum)]
    client: Option<For>,
    /// Permit its user this channel, and nothing else: what Centrifugo's clients call a subscription token. It opens no connection
    #[arg(long, value_name = "TOPIC", requires = "client", conflicts_with = "permissions", value_parser = |name: &str| Topic::parse(name))]
    channel: Option<Topic>,
    /// The hub of a client of Azure Web PubSub
    #[arg(long, value_name = "HUB", requires = "client", conflicts_with_all = ["permissions", "channel", "issuer", "audience"], value_parser = |name: &str| Hub::parse(name))]
    hub: Option<Hub>,
    /// What such a client may do: webpubsub.joinLeaveGroup, webpubsub.sendToGroup, either with `.GROUP`, or in the plural with
    /// `.PATTERN`; repeatable
    #[arg(long = "role", value_name = "ROLE", requires = "hub", value_parser = role)]
    roles: Vec<String>,
    /// A group that such a client is in from the beginning; repeatable
    #[arg(long = "group", value_name = "GROUP", requires = "hub")]
    groups: Vec<String>,
    /// How long the token is good: seconds, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires: Duration,
    /// What the stack's TokenIssuer is, if it has one
    #[arg(long)]
    issuer: Option<String>,
    /// What the stack's TokenAudience is, if it has one
    #[arg(long)]
    audience: Option<String>,
    #[command(flatten)]
    named: Named,
    /// Use this secret of Secrets Manager in AWS
    #[arg(long, value_name = "ARN|NAME")]
    secret_id: Option<String>,
    /// Use the content of this file, without a line break at its end
    #[arg(long, value_name = "PATH", conflicts_with_all = ["endpoint_url", "region", "profile"])]
    secret_file: Option<PathBuf>,
    /// Where Secrets Manager is [default: http://127.0.0.1:3030, or AWS with --stack or --secret-id]
    #[arg(long, visible_alias = "url", value_name = "URL")]
    endpoint_url: Option<String>,
    #[command(flatten)]
    identity: Identity,
}

/// Whose client it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum For {
    /// Centrifugo's official clients.
    Centrifuge,
    /// Azure Web PubSub's official clients; needs --hub.
    Webpubsub,
}

const EXAMPLES: &str = "\
Examples:
  tidings token --user u1
  tidings token --user u1 --allow 'subscribe:orders/*' --allow 'publish:chat/**' --expires 15m
  TIDINGS_TOKEN=$(tidings token --user u1 --allow 'subscribe:**') tidings listen --topic orders/42
  tidings token --for centrifuge --user u1 --allow 'subscribe:room/*'
  tidings token --for centrifuge --user u1 --channel room/1  a subscription's token
  tidings token --for webpubsub --hub chat --user u1 --role webpubsub.joinLeaveGroup --role webpubsub.sendToGroup.g1
  tidings token --for webpubsub --hub chat --group g1        somebody without a name, in a group
  tidings token --user u1 --stack tidings-prod --region eu-west-1
  tidings token --user u1 --stack shop/Tidings               the stack Tidings that the stack shop nests";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    arguments.check()?;
    let secret = arguments.secret().await?;
    if secret.len() < SHORTEST_SECRET {
        let text = format!("the secret has {} bytes; the authorizer takes {SHORTEST_SECRET} or more", secret.len());
        return Err(Failure(text));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Failure::new(&error))?;
    let token = token::sign(&secret, &arguments.claims(now));
    let mut stdout = std::io::stdout();
    let written = writeln!(stdout, "{token}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure(format!("cannot write the token: {error}")))
}

impl Arguments {
    /// What goes together only here.
    fn check(&self) -> Result<(), Failure> {
        match (self.client, &self.hub) {
            (Some(For::Webpubsub), None) => Err(Failure("--for webpubsub needs --hub".to_owned())),
            (Some(For::Webpubsub), Some(hub)) => {
                let checked = self.groups.iter().try_for_each(|group| hub.group(group).map(drop));
                checked.map_err(|error| Failure(error.to_string()))
            }
            (_, Some(_)) => Err(Failure("--hub is for --for webpubsub".to_owned())),
            _ => Ok(()),
        }
    }

    fn claims(&self, now: Duration) -> Value {
        let mut claims = Map::new();
        claims.extend(self.user.as_ref().map(|user| ("sub".to_owned(), user.as_str().into())));
        claims.insert("iat".to_owned(), now.as_secs().into());
        claims.insert("exp".to_owned(), (now + self.expires).as_secs().into());
        for (name, value) in [("iss", &self.issuer), ("aud", &self.audience)] {
            claims.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
        }
        if !self.permissions.is_empty() {
            claims.insert("permissions".to_owned(), json!(self.permissions));
        }
        if let Some(hub) = &self.hub {
            // Whichever host its client comes by: only the path counts.
            claims.insert("aud".to_owned(), format!("{NOTIFY_ENDPOINT}/client/hubs/{hub}").into());
        }
        for (name, values) in [("role", &self.roles), ("webpubsub.group", &self.groups)] {
            if !values.is_empty() {
                claims.insert(name.to_owned(), json!(values));
            }
        }
        if let Some(channel) = &self.channel {
            claims.insert("channel".to_owned(), channel.as_str().into());
        }
        Value::Object(claims)
    }

    async fn secret(&self) -> Result<Vec<u8>, Failure> {
        if let Some(path) = &self.secret_file {
            return from_file(path);
        }
        let (stack, kind) = (self.named.stack.as_deref(), self.kind());
        let is_local = stack.is_none() && self.secret_id.is_none();
        let endpoint = self.endpoint_url.as_deref().or(is_local.then_some(NOTIFY_ENDPOINT));
        let id = match (&self.secret_id, stack) {
            (Some(id), _) => id.clone(),
            (None, stack) => format!("{}{}", stack.unwrap_or(LOCAL_STACK), kind.name),
        };
        match endpoint.filter(|endpoint| !is_aws(endpoint)) {
            Some(endpoint) => local::secret(endpoint, &id, is_local, &kind).await,
            None => aws::secret(endpoint, &id, stack, &kind, &self.identity).await,
        }
    }

    /// Which of a stack's secrets it is.
    fn kind(&self) -> Kind {
        match self.client {
            Some(For::Webpubsub) => Kind {
                name: "/webpubsub-key",
                resource: "WebPubSubKey",
                missing: "does not speak it: its Protocols has no webpubsub",
                parameter: "Protocols=webpubsub",
            },
            _ => Kind {
                name: "/tokens",
                resource: "TokenSecret",
                missing: "makes no tokens of its own: its Authentication is not hs256",
                parameter: "Authentication=hs256",
            },
        }
    }
}

#[cfg(not(feature = "account"))]
mod aws {
    use super::super::identity::{Identity, needs_account};
    use super::{Failure, Kind};

    pub(super) async fn secret(
        _: Option<&str>,
        _: &str,
        _: Option<&str>,
        _: &Kind,
        _: &Identity,
    ) -> Result<Vec<u8>, Failure> {
        Err(needs_account("to read a secret in AWS"))
    }
}

/// A secret that tokens are signed with.
#[cfg_attr(not(feature = "account"), expect(dead_code, reason = "two are of stacks in AWS"))]
struct Kind {
    /// What its name ends in.
    name: &'static str,
    /// Its logical id.
    resource: &'static str,
    /// What a stack does that has none.
    missing: &'static str,
    /// What makes `tidings dev` have one.
    parameter: &'static str,
}

fn from_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut secret = std::fs::read(path)
        .map_err(|error| Failure(format!("cannot read --secret-file {}: {error}", path.display())))?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        secret.pop();
    }
    Ok(secret)
}

/// A permission as it is given, checked as the authorizer will.
fn permission(text: &str) -> Result<String, String> {
    let sample = UserId::parse("u").map_err(|error| error.to_string())?;
    let filled = for_user(text, Some(&sample)).unwrap_or_default();
    Permission::parse(&filled).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A role that lets a client of Azure Web PubSub do something: one that is misspelt would not.
fn role(text: &str) -> Result<String, String> {
    match Vec::from(Roles::from(vec![text.to_owned()])).is_empty() {
        true => {
            Err("use webpubsub.joinLeaveGroup or webpubsub.sendToGroup, with .GROUP, or in the plural with .PATTERN"
                .to_owned())
        }
        false => Ok(text.to_owned()),
    }
}

/// Seconds, or a time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let seconds = match &text[number.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    let seconds = number.parse::<u32>().ok().map(|number| u64::from(number) * seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| "write a time such as 90s, 15m, 1h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Cli::try_parse_from(std::iter::once("token").chain(arguments.iter().copied())).map(|cli| cli.arguments)
    }

    #[test]
    fn a_token_says_who_and_what_and_until_when() {
        let arguments = ["--user", "u1", "--allow", "subscribe:orders/*", "--allow", "publish:chat/**"];
        let claims = parse(&arguments).unwrap().claims(Duration::from_secs(1_000));
        let permissions = ["subscribe:orders/*", "publish:chat/**"];
        assert_eq!(claims, json!({"sub": "u1", "iat": 1_000, "exp": 4_600, "permissions": permissions}));
        let arguments = ["--user", "u1", "--expires", "90s", "--issuer", "i", "--audience", "a"];
        let claims = parse(&arguments).unwrap().claims(Duration::ZERO);
        assert_eq!(claims, json!({"sub": "u1", "iat": 0, "exp": 90, "iss": "i", "aud": "a"}));
        let arguments = ["--user", "u1", "--for", "centrifuge", "--channel", "room/1", "--expires", "90"];
        let claims = parse(&arguments).unwrap().claims(Duration::ZERO);
        assert_eq!(claims, json!({"sub": "u1", "iat": 0, "exp": 90, "channel": "room/1"}));
    }

    #[test]
    fn a_token_for_web_pubsub_names_the_hub_as_its_audience() {
        let base = ["--for", "webpubsub", "--hub", "Chat", "--expires", "90"];
        let arguments = [&base[..], &["--role", "webpubsub.sendToGroup.g", "--group", "g", "--user", "u1"]].concat();
        let arguments = parse(&arguments).unwrap();
        arguments.check().unwrap();
        let audience = "http://127.0.0.1:3030/client/hubs/chat";
        let said = json!({
            "sub": "u1", "iat": 0, "exp": 90, "aud": audience, "role": ["webpubsub.sendToGroup.g"], "webpubsub.group": ["g"],
        });
        assert_eq!(arguments.claims(Duration::ZERO), said);
        assert_eq!(parse(&base).unwrap().claims(Duration::ZERO), json!({"iat": 0, "exp": 90, "aud": audience}));
        assert_eq!(parse(&base).unwrap().kind().name, "/webpubsub-key");
        for bad in [
            &["--for", "webpubsub", "--user", "u"][..],
            &["--for", "centrifuge", "--user", "u", "--hub", "h"],
            &["--for", "webpubsub", "--hub", "h", "--group", " "],
        ] {
            assert!(parse(bad).unwrap().check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_authorizer_would_not_take_is_refused_here() {
        assert!(parse(&["--user", "u1", "--allow", "subscribe:users/{user}/**"]).is_ok());
        for bad in [
            &["--user", ""][..],
            &["--user", "a\nb"],
            &["--allow", "subscribe:a"],
            &["--user", "u", "--allow", "read:a"],
            &["--user", "u", "--allow", "subscribe:a-*"],
            &["--user", "u", "--expires", "0"],
            &["--user", "u", "--expires", "1w"],
            &["--user", "u", "--expires", "1hm"],
            &["--user", "u", "--stack", "s", "--secret-id", "i"],
            &["--user", "u", "--secret-file", "f", "--region", "r"],
            &["--user", "u", "--for", "other"],
            &["--user", "u", "--channel", "c"],
            &["--for", "webpubsub", "--hub", "1h"],
            &["--for", "webpubsub", "--hub", "h", "--role", "sendToGroup"],
            &["--for", "webpubsub", "--hub", "h", "--user", "u", "--allow", "subscribe:a"],
            &["--for", "webpubsub", "--user", "u", "--role", "webpubsub.sendToGroup"],
            &["--user", "u", "--for", "centrifuge", "--channel", ""],
            &["--user", "u", "--for", "centrifuge", "--channel", "c", "--allow", "subscribe:c"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }
}
