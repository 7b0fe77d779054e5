//! Who is in a group, page by page.

use serde::Serialize;
use tidings::registry::{Audience, Connection};
use tidings::{ConnectionId, Topic, UserId, hex};

use super::Call;
use super::failure::Failure;
use super::parameters::{Parameters, VERSION};
use super::recipients::now;
use crate::response::Response;

/// Members of a page, where the caller does not say, and at most.
const MOST: u32 = 200;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    value: Vec<Member<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    connection_id: &'a ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a UserId>,
}

/// What is wanted of a group.
struct Wanted {
    /// In one page.
    most: u32,
    /// In all pages together.
    top: Option<u32>,
    after: Option<ConnectionId>,
}

impl Wanted {
    fn take(parameters: &mut Parameters) -> Result<Self, Failure> {
        let most = parameters.take_number("maxpagesize", 1..=MOST)?.unwrap_or(MOST);
        let top = parameters.take_number("top", 1..=u32::MAX)?;
        let after = match parameters.take_all("continuationToken").as_slice() {
            [] => None,
            [token] => Some(read_token(token)?),
            _ => return Err(Failure::bad_request("continuationToken", "it is there more than once; give it once")),
        };
        Ok(Self { most, top, after })
    }

    /// Members of this page.
    fn size(&self) -> usize {
        self.most.min(self.top.unwrap_or(MOST)) as usize
    }
}

impl Call<'_> {
    pub(super) async fn list(&self, group: &Topic, parameters: &mut Parameters) -> Result<Response, Failure> {
        let wanted = Wanted::take(parameters)?;
        let (mut members, goes_on) = self.members(group, &wanted).await?;
        members.truncate(wanted.size());
        let left = wanted.top.map(|top| top - u32::try_from(members.len()).unwrap_or(top));
        let next_link = match members.last() {
            Some(last) if goes_on && left != Some(0) => Some(self.next_link(&wanted, left, &last.id)),
            _ => None,
        };
        let value =
            members.iter().map(|Connection { id, user, .. }| Member { connection_id: id, user_id: user.as_ref() });
        Ok(Response::json(200, &Page { value: value.collect(), next_link }))
    }

    /// The members of a page, and whether there are more. Pages of the registry may be short where rows have expired.
    async fn members(&self, group: &Topic, wanted: &Wanted) -> Result<(Vec<Connection>, bool), Failure> {
        let (mut members, mut after) = (Vec::new(), wanted.after.clone());
        loop {
            // One more says whether there is a next page.
            let limit = u16::try_from(wanted.size() + 1 - members.len()).unwrap_or(1);
            let page = self.deps.registry.page(Audience::Topic(group), after.as_ref(), limit, now()).await?;
            members.extend(page.connections);
            after = page.next;
            if members.len() > wanted.size() || after.is_none() {
                let goes_on = members.len() > wanted.size();
                return Ok((members, goes_on));
            }
        }
    }

    /// Where the next page is: at the address that was signed, for its host is the one that the caller knows.
    fn next_link(&self, wanted: &Wanted, left: Option<u32>, last: &ConnectionId) -> String {
        let origin = &self.address.origin;
        let (path, token) = (&self.address.path, hex::encode(last.as_str().as_bytes()));
        let top = left.map(|left| format!("&top={left}")).unwrap_or_default();
        format!("{origin}{path}?api-version={VERSION}&maxpagesize={}{top}&continuationToken={token}", wanted.most)
    }
}

/// The place behind which a page begins.
fn read_token(text: &str) -> Result<ConnectionId, Failure> {
    let id = hex::decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
    id.and_then(|id| ConnectionId::parse(id).ok())
        .ok_or_else(|| Failure::bad_request("continuationToken", "it is not from an answer; take `nextLink` as it is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_as_fit_and_as_are_wanted_in_all() {
        let size = |query: &str| Wanted::take(&mut Parameters::parse(query).unwrap()).map(|wanted| wanted.size()).ok();
        assert_eq!((size(""), size("maxpagesize=7"), size("top=3&maxpagesize=7")), (Some(200), Some(7), Some(3)));
        assert_eq!((size("top=1000"), size("maxPageSize=200&top=4000000000")), (Some(200), Some(200)));
        for bad in [
            "maxpagesize=0",
            "maxpagesize=201",
            "top=0",
            "top=",
            "continuationToken=",
            "continuationToken=4g",
            "continuationToken=20",
        ] {
            assert_eq!(size(bad), None, "{bad}");
        }
        let token = hex::encode(b"BFHPhfCWIAMCKlQ=");
        assert_eq!(read_token(&token).unwrap().as_str(), "BFHPhfCWIAMCKlQ=");
    }
}
