//! Which operation a request is.

use crate::centrifugo;
use crate::event::Event;
use crate::problem::Problem;
use crate::web_pubsub;

/// What can be asked for. Each is a route of its own in the template, so that policies can allow it by method and path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Queues notifications.
    Notify,
    /// Lists the connections of an audience.
    ListConnections,
    /// Counts them.
    CountConnections,
    /// Shows one connection.
    ShowConnection,
    /// Closes one.
    CloseConnection,
    /// Lists a user's durable topics.
    ListTopics,
    /// Adds one.
    AddTopic,
    /// Removes one.
    RemoveTopic,
    /// Shows who is in a topic.
    ShowPresence,
    /// Reads the log of a topic or a user, or waits for what is new in it.
    ReadMessages,
    /// Says how many of its messages a user has not read.
    CountUnread,
    /// Notes how far a user has read.
    MarkRead,
    /// The description of this API.
    Describe,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Operation(Operation),
    /// A call of Centrifugo's server API.
    Server,
    /// A call of Azure Web PubSub's API, over this route.
    WebPubSub(&'static str),
    /// `OPTIONS`: the methods of the path, and whether clients may call them.
    Methods {
        allow: String,
        for_clients: bool,
    },
}

impl Operation {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Notify,
        Self::ListConnections,
        Self::CountConnections,
        Self::ShowConnection,
        Self::CloseConnection,
        Self::ListTopics,
        Self::AddTopic,
        Self::RemoveTopic,
        Self::ShowPresence,
        Self::ReadMessages,
        Self::CountUnread,
        Self::MarkRead,
        Self::Describe,
    ];

    /// Method and path.
    #[must_use]
    pub fn route(self) -> (&'static str, &'static str) {
        match self {
            Self::Notify => ("POST", "/notifications"),
            Self::ListConnections => ("GET", "/connections"),
            Self::CountConnections => ("GET", "/connections/count"),
            Self::ShowConnection => ("GET", "/connections/{id}"),
            Self::CloseConnection => ("DELETE", "/connections/{id}"),
            Self::ListTopics => ("GET", "/users/{user}/topics"),
            Self::AddTopic => ("PUT", "/users/{user}/topics"),
            Self::RemoveTopic => ("DELETE", "/users/{user}/topics"),
            Self::ShowPresence => ("GET", "/topics/{topic}/presence"),
            Self::ReadMessages => ("GET", "/messages"),
            Self::CountUnread => ("GET", "/users/{user}/unread"),
            Self::MarkRead => ("PUT", "/users/{user}/read"),
            Self::Describe => ("GET", "/openapi.json"),
        }
    }

    /// The key of its route in API Gateway.
    #[must_use]
    pub fn route_key(self) -> String {
        let (method, path) = self.route();
        format!("{method} {path}")
    }

    /// Whether clients call it, with their own tokens: its route has no authorizer of API Gateway's, and pages may call it.
    #[must_use]
    pub fn is_for_clients(self) -> bool {
        matches!(self, Self::ReadMessages | Self::CountUnread | Self::MarkRead)
    }
}

impl Wanted {
    /// Tells it by the route that API Gateway chose. What came over `$default` is never carried out: its callers may lack
    /// the permission for the operation.
    pub(crate) fn of(event: &Event) -> Result<Self, Problem> {
        let key = event.route_key.as_deref().unwrap_or_default();
        if let Some(operation) = Operation::ALL.into_iter().find(|operation| operation.route_key() == key) {
            return Ok(Self::Operation(operation));
        }
        if key == centrifugo::ROUTE {
            return Ok(Self::Server);
        }
        if let Some(route) = [web_pubsub::ROUTE, web_pubsub::HEALTH].into_iter().find(|route| *route == key) {
            return Ok(Self::WebPubSub(route));
        }
        let operations = operations_at(event);
        let methods: Vec<_> = operations.iter().map(|operation| operation.route().0).collect();
        if methods.is_empty() {
            return Err(Problem::NoSuchPath);
        }
        let for_clients = operations.iter().any(|operation| operation.is_for_clients());
        let allow = format!("{}, OPTIONS", methods.join(", "));
        match event.request_context.http.method.as_deref() {
            Some("OPTIONS") => Ok(Self::Methods { allow, for_clients }),
            // The path is right but for its slashes, or API Gateway would have chosen the route.
            Some(method) if methods.contains(&method) => Err(Problem::NoSuchPath),
            _ => Err(Problem::MethodNotAllowed { allow }),
        }
    }

    /// Whether a page may read the answer.
    pub(crate) fn is_for_clients(&self) -> bool {
        match self {
            Self::Operation(operation) => operation.is_for_clients(),
            Self::Server | Self::WebPubSub(_) => false,
            Self::Methods { for_clients, .. } => *for_clients,
        }
    }
}

/// The operations that the request's path has.
fn operations_at(event: &Event) -> Vec<Operation> {
    let path = event.raw_path.as_deref().unwrap_or_default();
    let stage = event.request_context.stage.as_deref().unwrap_or_default();
    let path = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(stage))
        .filter(|_| stage != "$default")
        .unwrap_or(path);
    let matches = |template: &str| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        wanted.clone().count() == given.clone().count()
            && wanted
                .zip(given)
                .all(|(wanted, given)| wanted == given || (wanted.starts_with('{') && !given.is_empty()))
    };
    // `/connections/count` is no connection.
    let exact = Operation::ALL.iter().any(|operation| operation.route().1 == path);
    let is_here = |operation: &Operation| match operation.route().1 {
        template if exact => template == path,
        template => matches(template),
    };
    Operation::ALL.into_iter().filter(is_here).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(key: &str, method: &str, path: &str) -> Result<Wanted, Problem> {
        let context = json!({"stage": "$default", "http": {"method": method}});
        let event = json!({"routeKey": key, "rawPath": path, "requestContext": context});
        Wanted::of(&serde_json::from_value(event).unwrap())
    }

    fn allowed(method: &str, path: &str) -> String {
        match wanted("$default", method, path) {
            Err(Problem::MethodNotAllowed { allow }) | Ok(Wanted::Methods { allow, .. }) => allow,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_route_names_the_operation() {
        for operation in Operation::ALL {
            assert_eq!(wanted(&operation.route_key(), "", ""), Ok(Wanted::Operation(operation)));
        }
        assert_eq!(wanted(centrifugo::ROUTE, "", ""), Ok(Wanted::Server));
        assert_eq!(wanted("$default", "POST", "/api/publish"), Err(Problem::NoSuchPath));
    }

    #[test]
    fn what_comes_over_the_default_route_is_told_what_there_is() {
        assert_eq!(allowed("PATCH", "/connections"), "GET, OPTIONS");
        assert_eq!(allowed("HEAD", "/connections/abc="), "GET, DELETE, OPTIONS");
        assert_eq!(allowed("DELETE", "/connections/count"), "GET, OPTIONS");
        assert_eq!(allowed("POST", "/users/u 1/topics"), "GET, PUT, DELETE, OPTIONS");
        assert_eq!(allowed("OPTIONS", "/notifications"), "POST, OPTIONS");
        for path in ["", "/", "/connections/", "/connections/a/b", "/users//topics", "/connection", "/users/u/topics/"]
        {
            assert_eq!(wanted("$default", "GET", path), Err(Problem::NoSuchPath), "{path}");
        }
    }

    #[test]
    fn pages_are_answered_where_clients_may_call_and_nowhere_else() {
        for operation in Operation::ALL {
            let (_, path) = operation.route();
            let options = wanted(&format!("OPTIONS {path}"), "OPTIONS", &path.replace("{user}", "u")).unwrap();
            assert_eq!(options.is_for_clients(), operation.is_for_clients(), "{path}");
        }
    }

    #[test]
    fn an_operation_cannot_be_reached_around_its_route() {
        assert_eq!(wanted("$default", "DELETE", "/connections/abc"), Err(Problem::NoSuchPath));
    }
}
