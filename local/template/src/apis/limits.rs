//! Throttling settings of a stage.

use indexmap::IndexMap;

use super::super::{Fault, properties::Properties};
use tidings_local_stack::Limit;

/// What counts where only one of the two numbers is set: an account's quota.
const ACCOUNT: Limit = Limit { rate: 10_000.0, burst: 5_000 };

/// `DefaultRouteSettings` of a stage.
pub(super) fn default(stage: &Properties<'_>) -> Result<Option<Limit>, Fault> {
    stage.inside("DefaultRouteSettings")?.map_or(Ok(None), |settings| limit(&settings))
}

/// `RouteSettings` of a stage, by route key.
pub(super) fn of_routes(stage: &Properties<'_>) -> Result<IndexMap<String, Limit>, Fault> {
    let Some(routes) = stage.inside("RouteSettings")? else { return Ok(IndexMap::new()) };
    let limit = |key: &String| {
        let settings = routes.inside(key)?;
        let limit = settings.map_or(Ok(None), |settings| limit(&settings))?;
        Ok(limit.map(|limit| (key.clone(), limit)))
    };
    routes.keys().filter_map(|key| limit(key).transpose()).collect()
}

fn limit(settings: &Properties<'_>) -> Result<Option<Limit>, Fault> {
    let (rate_key, burst_key) = ("ThrottlingRateLimit", "ThrottlingBurstLimit");
    let rate = match settings.text(rate_key)? {
        None => None,
        Some(text) => match text.trim().parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate >= 0.0 => Some(rate),
            _ => return Err(settings.fault(rate_key, format!("must be a number of at least 0, not `{text}`"))),
        },
    };
    let burst = settings.number(burst_key, 0..=u32::MAX)?;
    let is_set = rate.is_some() || burst.is_some();
    Ok(is_set.then(|| Limit { rate: rate.unwrap_or(ACCOUNT.rate), burst: burst.unwrap_or(ACCOUNT.burst) }))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{fault_of_resources, stack_of_resources};
    use super::*;
    use tidings_local_stack::Stage;

    fn resources(settings: &str) -> String {
        format!(
            "
  F: {{Type: AWS::Serverless::Function}}
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties: {{RouteSelectionExpression: $request.body.a, Routes: {{$connect: {{FunctionArn: !GetAtt F.Arn}}}}, {settings}}}
"
        )
    }

    fn stage(settings: &str) -> Stage {
        stack_of_resources(&resources(settings)).apis["Api"].stages[0].clone()
    }

    #[test]
    fn limits_of_the_stage_and_of_its_routes_are_read() {
        let stage = stage(
            "DefaultRouteSettings: {ThrottlingRateLimit: 2.5, ThrottlingBurstLimit: 7}, \
             RouteSettings: {chat: {ThrottlingRateLimit: 0}, $connect: {ThrottlingBurstLimit: 3}, quiet: {LoggingLevel: 'OFF'}}",
        );
        assert_eq!(stage.default_limit, Some(Limit { rate: 2.5, burst: 7 }));
        let expected = [
            ("chat".to_owned(), Limit { rate: 0.0, burst: 5_000 }),
            ("$connect".to_owned(), Limit { rate: 10_000.0, burst: 3 }),
        ];
        assert_eq!(stage.limits, expected.into());
    }

    #[test]
    fn a_stage_without_settings_has_no_limits() {
        assert_eq!(stage("DefaultRouteSettings: {DataTraceEnabled: true}"), stage("Name: x"));
        assert_eq!(stage("Name: x").default_limit, None);
    }

    #[test]
    fn a_bad_limit_is_told() {
        let fault = fault_of_resources(&resources("DefaultRouteSettings: {ThrottlingRateLimit: many}"));
        assert_eq!(fault.text, "`ThrottlingRateLimit` of `ApiDefaultStage` must be a number of at least 0, not `many`");
    }
}
