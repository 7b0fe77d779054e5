//! Random values, as `GenerateSecretString` and `GetRandomPassword` describe them.

use ring::rand::{SecureRandom as _, SystemRandom};

use tidings_local_stack::GeneratedSecret;

/// A value of this kind: the random text, or the template with the random text under its key.
pub(super) fn value(rules: &GeneratedSecret) -> String {
    let password = password(rules);
    match &rules.template {
        None => password,
        Some(template) => {
            let mut object = template.object.clone();
            object.insert(template.key.clone(), password.into());
            serde_json::Value::Object(object).to_string()
        }
    }
}

fn password(rules: &GeneratedSecret) -> String {
    let kinds = rules.kinds();
    let every: Vec<char> = kinds.concat();
    let mut characters: Vec<char> = if rules.require_each_kind {
        kinds.iter().map(|kind| kind[below(kind.len())]).take(rules.length).collect()
    } else {
        Vec::new()
    };
    while characters.len() < rules.length {
        characters.push(every[below(every.len())]);
    }
    // Those that are required must not always come first.
    for last in (1..characters.len()).rev() {
        characters.swap(last, below(last + 1));
    }
    characters.into_iter().collect()
}

/// A random number below this one, each equally likely.
fn below(bound: usize) -> usize {
    let bound = u32::try_from(bound).unwrap_or(u32::MAX).max(1);
    let random = SystemRandom::new();
    loop {
        let mut bytes = [0; 4];
        // A system without random numbers cannot run anything here.
        if random.fill(&mut bytes).is_err() {
            continue;
        }
        let number = u32::from_le_bytes(bytes);
        // What is above the last whole multiple would make small numbers likelier.
        if number < u32::MAX - u32::MAX % bound {
            return (number % bound) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_local_stack::SecretTemplate;

    #[test]
    fn a_value_has_its_length_and_only_characters_that_are_allowed() {
        let rules = GeneratedSecret { length: 64, punctuation: false, excluded: "abc0".into(), ..Default::default() };
        let (one, other) = (value(&rules), value(&rules));
        assert_eq!(one.len(), 64);
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric() && !"abc0".contains(c)), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn each_kind_is_there_where_that_is_required() {
        for _ in 0..200 {
            let rules = GeneratedSecret { length: 4, ..Default::default() };
            let password = value(&rules);
            let has = |kind: &Vec<char>| password.chars().filter(|c| kind.contains(c)).count() == 1;
            assert!(rules.kinds().iter().all(has), "{password}");
        }
    }

    #[test]
    fn a_template_gets_the_value_under_its_key() {
        let object = serde_json::json!({"user": "admin"}).as_object().unwrap().clone();
        let template = SecretTemplate { object, key: "password".into() };
        let rules = GeneratedSecret { template: Some(template), ..Default::default() };
        let made: serde_json::Value = serde_json::from_str(&value(&rules)).unwrap();
        assert_eq!((made["user"].as_str(), made["password"].as_str().map(str::len)), (Some("admin"), Some(32)));
    }
}
