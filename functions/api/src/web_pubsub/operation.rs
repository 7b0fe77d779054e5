//! Which of the operations of 2024-12-01 a request is, by its method and the names in its path.

use tidings::web_pubsub::{Hub, Right};
use tidings::{ConnectionId, Topic, UserId};

use super::failure::Failure;

/// Most characters of the name of a user or a connection.
const LONGEST_NAME: usize = 1_024;

/// What is asked of which hub.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) hub: Hub,
    pub(super) operation: Operation,
}

/// Whose connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    Everybody,
    Connection(Named<ConnectionId>),
    User(Named<UserId>),
    Group(Topic),
}

/// Somebody; `None` where nobody can have the name here, though Azure would take it.
pub(super) type Named<T> = Option<T>;

/// What is asked for. Groups are given as the topics that they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Send(Whose),
    /// Never of everybody.
    Exists(Whose),
    Close(Whose),
    Join {
        group: Topic,
        connection: Named<ConnectionId>,
    },
    Leave {
        group: Topic,
        connection: Named<ConnectionId>,
    },
    JoinUser {
        group: Topic,
        user: Named<UserId>,
    },
    /// Leaves one group, or all.
    LeaveUser {
        group: Option<Topic>,
        user: Named<UserId>,
    },
    LeaveAll {
        connection: Named<ConnectionId>,
    },
    ChangeGroups {
        change: Change,
    },
    List {
        group: Topic,
    },
    Permission {
        act: Act,
        right: Right,
        connection: Named<ConnectionId>,
    },
    GenerateToken,
}

/// Whether those who are meant are to join groups or to leave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Join,
    Leave,
}

/// What is done with a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Grant,
    Revoke,
    Check,
}

/// Finds the operation; `segments` are the names behind `/api/hubs`.
pub(super) fn of(method: &str, segments: &[String]) -> Result<Asked, Failure> {
    let names: Vec<_> = segments.iter().map(String::as_str).collect();
    let Some((hub, rest)) = names.split_first() else { return Err(Failure::NO_SUCH_PATH) };
    let hub = Hub::parse(hub).map_err(|error| Failure::bad_request("hub", error))?;
    let operation = match rest {
        ["connections", connection, rest @ ..] => of_connection(method, connection, rest),
        ["users", user, rest @ ..] => of_user(method, &hub, user, rest),
        ["groups", group, rest @ ..] => of_group(method, &hub, group, rest),
        ["permissions", permission, "connections", connection] => of_permission(method, permission, connection),
        [action] => of_hub(method, action),
        _ => Err(Failure::NO_SUCH_PATH),
    }?;
    Ok(Asked { hub, operation })
}

fn of_hub(method: &str, action: &str) -> Result<Operation, Failure> {
    let operation = match action {
        ":send" => Operation::Send(Whose::Everybody),
        ":closeConnections" => Operation::Close(Whose::Everybody),
        ":addToGroups" => Operation::ChangeGroups { change: Change::Join },
        ":removeFromGroups" => Operation::ChangeGroups { change: Change::Leave },
        ":generateToken" => Operation::GenerateToken,
        _ => return Err(Failure::NO_SUCH_PATH),
    };
    if method == "POST" { Ok(operation) } else { Err(Failure::NO_SUCH_METHOD) }
}

fn of_connection(method: &str, connection: &str, rest: &[&str]) -> Result<Operation, Failure> {
    let connection = connection_of(connection)?;
    Ok(match (rest, method) {
        ([], "HEAD") => Operation::Exists(Whose::Connection(connection)),
        ([], "DELETE") => Operation::Close(Whose::Connection(connection)),
        ([":send"], "POST") => Operation::Send(Whose::Connection(connection)),
        (["groups"], "DELETE") => Operation::LeaveAll { connection },
        ([] | [":send" | "groups"], _) => return Err(Failure::NO_SUCH_METHOD),
        _ => return Err(Failure::NO_SUCH_PATH),
    })
}

fn of_user(method: &str, hub: &Hub, user: &str, rest: &[&str]) -> Result<Operation, Failure> {
    let user = user_of(user)?;
    Ok(match (rest, method) {
        ([], "HEAD") => Operation::Exists(Whose::User(user)),
        ([":send"], "POST") => Operation::Send(Whose::User(user)),
        ([":closeConnections"], "POST") => Operation::Close(Whose::User(user)),
        (["groups"], "DELETE") => Operation::LeaveUser { group: None, user },
        (["groups", group], "PUT") => Operation::JoinUser { group: group_of(hub, group)?, user },
        (["groups", group], "DELETE") => Operation::LeaveUser { group: Some(group_of(hub, group)?), user },
        ([] | [":send" | ":closeConnections" | "groups"] | ["groups", _], _) => return Err(Failure::NO_SUCH_METHOD),
        _ => return Err(Failure::NO_SUCH_PATH),
    })
}

fn of_group(method: &str, hub: &Hub, group: &str, rest: &[&str]) -> Result<Operation, Failure> {
    let group = group_of(hub, group)?;
    Ok(match (rest, method) {
        ([], "HEAD") => Operation::Exists(Whose::Group(group)),
        ([":send"], "POST") => Operation::Send(Whose::Group(group)),
        ([":closeConnections"], "POST") => Operation::Close(Whose::Group(group)),
        (["connections"], "GET") => Operation::List { group },
        (["connections", id], "PUT") => Operation::Join { group, connection: connection_of(id)? },
        (["connections", id], "DELETE") => Operation::Leave { group, connection: connection_of(id)? },
        ([] | [":send" | ":closeConnections" | "connections"] | ["connections", _], _) => {
            return Err(Failure::NO_SUCH_METHOD);
        }
        _ => return Err(Failure::NO_SUCH_PATH),
    })
}

fn of_permission(method: &str, permission: &str, connection: &str) -> Result<Operation, Failure> {
    let right = Right::from_name(permission)
        .ok_or_else(|| Failure::bad_request("permission", "use sendToGroup or joinLeaveGroup"))?;
    let act = match method {
        "PUT" => Act::Grant,
        "DELETE" => Act::Revoke,
        "HEAD" => Act::Check,
        _ => return Err(Failure::NO_SUCH_METHOD),
    };
    Ok(Operation::Permission { act, right, connection: connection_of(connection)? })
}

fn connection_of(name: &str) -> Result<Named<ConnectionId>, Failure> {
    check("connectionId", name)?;
    Ok(ConnectionId::parse(name).ok())
}

fn user_of(name: &str) -> Result<Named<UserId>, Failure> {
    check("userId", name)?;
    Ok(UserId::parse(name).ok())
}

fn check(field: &str, name: &str) -> Result<(), Failure> {
    match name.chars().count() {
        1..=LONGEST_NAME => Ok(()),
        _ => Err(Failure::bad_request(field, format!("use 1 to {LONGEST_NAME} characters"))),
    }
}

/// The topic that a group is.
pub(super) fn group_of(hub: &Hub, name: &str) -> Result<Topic, Failure> {
    hub.group(name).map_err(|error| Failure::bad_request("group", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str) -> Result<Operation, u16> {
        let segments: Vec<_> = path.split('/').map(str::to_owned).collect();
        of(method, &segments).map(|asked| asked.operation).map_err(|failure| failure.into_response().status())
    }

    #[test]
    fn there_are_two_dozen_operations_on_hubs() {
        let (c, u) = (|| ConnectionId::parse("c=").ok(), || UserId::parse("u").ok());
        let g = || Topic::parse("h/g").unwrap();
        let send = Operation::Send;
        let permission = |act, right| Operation::Permission { act, right, connection: c() };
        for (method, path, operation) in [
            ("POST", "h/:send", send(Whose::Everybody)),
            ("POST", "h/connections/c=/:send", send(Whose::Connection(c()))),
            ("POST", "h/users/u/:send", send(Whose::User(u()))),
            ("POST", "h/groups/g/:send", send(Whose::Group(g()))),
            ("HEAD", "h/connections/c=", Operation::Exists(Whose::Connection(c()))),
            ("HEAD", "h/users/u", Operation::Exists(Whose::User(u()))),
            ("HEAD", "h/groups/g", Operation::Exists(Whose::Group(g()))),
            ("DELETE", "h/connections/c=", Operation::Close(Whose::Connection(c()))),
            ("POST", "h/:closeConnections", Operation::Close(Whose::Everybody)),
            ("POST", "h/users/u/:closeConnections", Operation::Close(Whose::User(u()))),
            ("POST", "h/groups/g/:closeConnections", Operation::Close(Whose::Group(g()))),
            ("PUT", "h/groups/g/connections/c=", Operation::Join { group: g(), connection: c() }),
            ("DELETE", "h/groups/g/connections/c=", Operation::Leave { group: g(), connection: c() }),
            ("PUT", "h/users/u/groups/g", Operation::JoinUser { group: g(), user: u() }),
            ("DELETE", "h/users/u/groups/g", Operation::LeaveUser { group: Some(g()), user: u() }),
            ("DELETE", "h/users/u/groups", Operation::LeaveUser { group: None, user: u() }),
            ("DELETE", "h/connections/c=/groups", Operation::LeaveAll { connection: c() }),
            ("POST", "h/:addToGroups", Operation::ChangeGroups { change: Change::Join }),
            ("POST", "h/:removeFromGroups", Operation::ChangeGroups { change: Change::Leave }),
            ("GET", "h/groups/g/connections", Operation::List { group: g() }),
            ("PUT", "h/permissions/sendToGroup/connections/c=", permission(Act::Grant, Right::SendToGroup)),
            ("DELETE", "h/permissions/JOINLEAVEGROUP/connections/c=", permission(Act::Revoke, Right::JoinLeaveGroup)),
            ("HEAD", "h/permissions/joinLeaveGroup/connections/c=", permission(Act::Check, Right::JoinLeaveGroup)),
            ("POST", "h/:generateToken", Operation::GenerateToken),
        ] {
            assert_eq!(asked(method, path), Ok(operation), "{method} {path}");
            assert_eq!(asked("PATCH", path), Err(405), "{path}");
        }
    }

    #[test]
    fn other_paths_are_none() {
        for path in
            ["h", "h/", "h/:sendAll", "h/users", "h/users/u/", "h/users/u/x", "h/groups/g/users", "h/groups/g/:send/x"]
        {
            assert_eq!(asked("POST", path), Err(404), "{path}");
        }
        for path in [
            "h/permissions/x/connections/c",
            "1h/:send",
            "h-1/:send",
            "h/groups/%20/:send".replace("%20", " ").as_str(),
        ] {
            assert_eq!(asked("POST", path), Err(400), "{path}");
        }
    }

    #[test]
    fn names_have_bounds_in_characters_and_hubs_no_case() {
        let user = |count: usize| asked("POST", &format!("h/users/{}/:send", "ü".repeat(count)));
        assert_eq!(user(1_024), Ok(Operation::Send(Whose::User(None))), "longer than any user here");
        assert_eq!(user(1_025), Err(400));
        assert_eq!(asked("POST", &format!("h/groups/{}/:send", "g".repeat(1_025))), Err(400));
        assert_eq!(asked("POST", &format!("{}/:send", "h".repeat(129))), Err(400));
        let segments = ["Chat_[1]".to_owned(), ":send".to_owned()];
        assert_eq!(of("POST", &segments).unwrap().hub.as_str(), "chat_[1]");
    }
}
