use std::sync::Barrier;
use std::thread;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("share/tidings/authority");
    (home, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn an_authority_is_kept_and_found_again() {
    let (_home, folder) = folder();
    let made = Authority::kept_in(&folder).unwrap();
    let found = Authority::kept_in(&folder).unwrap();
    assert_eq!((made.pem(), made.ends.unix_timestamp()), (found.pem(), found.ends.unix_timestamp()));
    assert_eq!(made.pem(), fs::read_to_string(folder.join(CERTIFICATE)).unwrap());
    assert_eq!(names(folder.parent().unwrap()), ["authority"], "nothing is left beside it");
}

#[test]
fn programs_that_make_one_at_once_get_the_same() {
    let (_home, folder) = folder();
    let start = Barrier::new(8);
    let made: Vec<_> = thread::scope(|scope| {
        let one = || {
            start.wait();
            Authority::kept_in(&folder).unwrap().pem
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|pem| *pem == made[0]), "{made:?}");
    assert_eq!(names(folder.parent().unwrap()), ["authority"]);
}

#[test]
fn one_whose_end_is_near_is_replaced() {
    let (_home, folder) = folder();
    let made = Authority::kept_in(&folder).unwrap();
    let long_before = made.ends - RENEWAL - Duration::days(1);
    assert_eq!(Authority::kept_at(&folder, long_before).unwrap().pem, made.pem);
    let next = Authority::kept_at(&folder, made.ends - RENEWAL).unwrap();
    assert!(next.pem != made.pem && next.ends > made.ends);
    assert_eq!(Authority::kept_at(&folder, made.ends).unwrap().pem, next.pem, "and stays");
    assert_eq!(names(folder.parent().unwrap()), ["authority"]);
}

#[test]
fn what_is_no_authority_is_left_alone_and_named_with_the_fix() {
    let (_home, folder) = folder();
    Authority::kept_in(&folder).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    for (file, text, reason) in [
        (KEY, other.as_str(), "key.pem is not the key of certificate.pem"),
        (KEY, "", "key.pem has no key ("),
        (CERTIFICATE, "no certificate", "certificate.pem has no certificate ("),
    ] {
        let before = fs::read_to_string(folder.join(file)).unwrap();
        fs::write(folder.join(file), text).unwrap();
        let error = Authority::kept_in(&folder).unwrap_err().to_string();
        let start = format!("the authority for TLS in {} is broken: {reason}", folder.display());
        assert!(error.starts_with(&start) && error.ends_with("; remove the folder, and a new one is made"), "{error}");
        assert_eq!(fs::read_to_string(folder.join(file)).unwrap(), text);
        fs::write(folder.join(file), before).unwrap();
    }
    Authority::kept_in(&folder).unwrap();
    fs::remove_file(folder.join(KEY)).unwrap();
    let error = Authority::kept_in(&folder).unwrap_err().to_string();
    assert!(error.contains("is broken: it has no key.pem"), "{error}");
}

#[cfg(unix)]
#[test]
fn only_its_user_can_read_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_home, folder) = folder();
    Authority::kept_in(&folder).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join(KEY))), (0o700, 0o600));
    fs::set_permissions(folder.join(KEY), Permissions::from_mode(0o644)).unwrap();
    Authority::kept_in(&folder).unwrap();
    assert_eq!(mode(&folder.join(KEY)), 0o600);
}
