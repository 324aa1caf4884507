use super::*;

const ONE: &str = "01KAM4B7X00000000000000AAA";
const TWO: &str = "01KAM4B7X00000000000000BBB";

fn runs() -> (tempfile::TempDir, Runs) {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path().join("state/runs"));
    (folder, runs)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn a_run_is_for_its_owner_alone() {
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    assert_eq!(mode(runs.path()), 0o700);
    assert_eq!(mode(run.path()), 0o700);
    for name in INSIDE {
        assert_eq!(mode(&run.path().join(name)), 0o700, "{name}");
    }
    for name in [LOCK, KEY] {
        assert_eq!(mode(&run.path().join(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read(run.path().join(KEY)).unwrap().len(), 32);
    let other = runs.create(TWO).unwrap();
    assert_ne!(fs::read(run.path().join(KEY)).unwrap(), fs::read(other.path().join(KEY)).unwrap());
    let again = runs.create(ONE).unwrap_err();
    assert_eq!(again.message, format!("there is a run `{ONE}` already"));
}

#[test]
fn a_word_means_one_run() {
    let (_folder, runs) = runs();
    let nothing = runs.open("last").unwrap_err();
    assert_eq!(nothing.message, "there is no run `last`");
    assert!(nothing.hint.as_deref().unwrap().starts_with("no run was begun there"), "{nothing:?}");
    let two = runs.create(TWO).unwrap();
    // The disk's clock goes in steps of some milliseconds: which of two within one is newer, nobody can tell.
    let created = |path: &Path| fs::metadata(path).and_then(|is| is.created().or_else(|_| is.modified())).unwrap();
    let notes = runs.path().join("notes");
    fs::create_dir(&notes).unwrap();
    while created(&notes) == created(two.path()) {
        fs::remove_dir(&notes).unwrap();
        fs::create_dir(&notes).unwrap();
    }
    runs.create(ONE).unwrap();
    assert_eq!(runs.all().unwrap(), [ONE, TWO], "the newest first, and nothing else");
    for (word, id) in [("last", ONE), (TWO, TWO), ("bbb", TWO), ("AAA", ONE), (&TWO.to_lowercase(), TWO)] {
        assert_eq!(runs.open(word).unwrap().id(), id, "{word}");
    }
    let both = runs.open("01kam").unwrap_err();
    assert_eq!(both.message, "`01kam` is not one run: 2 begin or end so");
    assert_eq!(both.causes, [format!("`{ONE}`, `{TWO}`")]);
    let typo = runs.open("01KAM4B7X00000000000000BBC").unwrap_err();
    assert_eq!(typo.hint, Some(format!("did you mean `{TWO}`?")));
    assert_eq!(runs.open("00bbc").unwrap_err().hint, Some(format!("did you mean `{TWO}`?")));
    let far = runs.open("web").unwrap_err();
    assert_eq!((far.kind, far.message.as_str()), (Kind::Input, "there is no run `web`"));
    assert!(far.hint.as_deref().unwrap().starts_with("`lockgate runs` lists them"), "{far:?}");
}

#[test]
fn what_others_can_change_is_not_believed() {
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    fs::write(run.path().join(JOURNAL), "").unwrap();
    for (path, bad, good) in [
        (run.path().to_path_buf(), 0o770, 0o700),
        (run.path().join(JOURNAL), 0o606, 0o600),
        (run.path().join(BLOBS), 0o702, 0o700),
        (run.path().join(KEY), 0o620, 0o600),
        (runs.path().to_path_buf(), 0o777, 0o700),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(bad)).unwrap();
        let error = runs.open(ONE).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Refused, &*format!("`{}` is not safe to go on from", path.display())));
        assert_eq!(error.causes, [format!("others can write to it: its mode is {bad:03o}")]);
        assert_eq!(error.hint, Some(format!("if nobody did, `chmod go-w {}`", path.display())));
        fs::set_permissions(&path, Permissions::from_mode(good)).unwrap();
        assert!(runs.open(ONE).is_ok());
    }
    fs::remove_file(run.path().join(JOURNAL)).unwrap();
    std::os::unix::fs::symlink("/dev/null", run.path().join(JOURNAL)).unwrap();
    assert_eq!(runs.open(ONE).unwrap_err().causes, ["it is a symbolic link"]);
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    // Only root can give files away; others find nothing here that is theirs to give.
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    if std::os::unix::fs::chown(run.path(), Some(12_345), None).is_err() {
        return;
    }
    let error = runs.open(ONE).unwrap_err();
    assert_eq!(error.causes, [format!("it belongs to user 12345, and you are user {}", unistd::geteuid())]);
}

#[test]
fn a_folder_like_tmp_holds_runs_but_one_that_anybody_can_change_does_not() {
    let (_folder, runs) = runs();
    runs.create(ONE).unwrap();
    fs::set_permissions(runs.path(), Permissions::from_mode(0o1777)).unwrap();
    assert!(runs.open(ONE).is_ok());
    fs::set_permissions(runs.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(runs.create(TWO).unwrap_err().message.ends_with("is not safe to go on from"));
}

#[test]
fn two_cannot_work_on_a_run_at_once() {
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    assert_eq!(run.holder(), None);
    let held = run.hold().unwrap();
    assert_eq!(run.holder(), Some(Holder::this()));
    let second = runs.open(ONE).unwrap().hold().unwrap_err();
    assert_eq!((second.kind, second.message.as_str()), (Kind::Refused, &*format!("run `{ONE}` is being worked on")));
    let Holder { pid, host } = Holder::this();
    assert_eq!(second.causes, [format!("by process {pid} on `{host}`")]);
    drop(held);
    assert_eq!(run.holder(), None);
    drop(run.hold().unwrap());
}

#[test]
fn who_looks_at_a_run_does_not_keep_others_from_it() {
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    let looking = File::open(run.path().join(LOCK)).unwrap();
    looking.lock_shared().unwrap();
    let other = run.clone();
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let begun = both.clone();
    let working = std::thread::spawn(move || {
        begun.wait();
        other.hold().map(drop)
    });
    both.wait();
    drop(looking);
    working.join().unwrap().unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Runs::at(file.join("runs")).create(ONE).unwrap_err();
    assert_eq!(error.kind, Kind::Input);
    assert_eq!(error.message, format!("the folder of runs `{}` cannot be written to", file.join("runs").display()));
    assert_eq!(error.hint.as_deref(), Some("`--runs DIR` or `LOCKGATE_RUNS` names another one"));
}

#[test]
fn a_run_without_its_key_is_half_a_copy() {
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    assert!(run.redactor().is_ok());
    fs::remove_file(run.path().join(KEY)).unwrap();
    let error = run.redactor().unwrap_err();
    assert_eq!(error.message, format!("run `{ONE}` cannot be read"));
    assert!(error.causes[0].starts_with("its file `key` cannot be read"), "{error:?}");
}

#[test]
fn without_its_file_a_run_is_held_all_the_same() {
    let (_folder, runs) = runs();
    let run = runs.create(ONE).unwrap();
    let held = run.hold().unwrap();
    fs::remove_file(run.path().join(LOCK)).unwrap();
    assert!(run.holder().is_some());
    let second = run.hold().unwrap_err();
    assert_eq!((second.kind, second.message.as_str()), (Kind::Refused, &*format!("run `{ONE}` is being worked on")));
    drop(held);
    assert_eq!(run.holder(), None);
    drop(run.hold().unwrap());
}

#[test]
fn what_never_began_is_no_run() {
    let (_folder, runs) = runs();
    runs.create(TWO).unwrap();
    let begun = runs.begin(ONE).unwrap();
    // Two folders may be made in one tick of the file system's clock.
    let all = || {
        let mut all = runs.all().unwrap();
        all.sort();
        all
    };
    assert_eq!(all(), [TWO]);
    assert_eq!(runs.open("last").unwrap().id(), TWO);
    fs::write(begun.path().join(JOURNAL), "{\"seq\":1").unwrap();
    assert_eq!(all(), [TWO], "a line that is not whole is none");
    fs::write(begun.path().join(JOURNAL), "{\"seq\":1}\n").unwrap();
    assert_eq!(all(), [ONE, TWO]);
    begun.born().unwrap();
    fs::remove_file(begun.path().join(JOURNAL)).unwrap();
    assert_eq!(all(), [ONE, TWO], "half a copy is told as such");
    fs::create_dir(runs.path().join("01KAM4B7X00000000000000CCC")).unwrap();
    assert_eq!(all(), [ONE, TWO]);
}

#[test]
fn a_process_is_known_by_its_number_and_machine() {
    let this = Holder::this();
    assert!(!this.may_live(), "this one is no other");
    let parent = Holder { pid: unistd::getppid().as_raw().unsigned_abs(), ..this.clone() };
    assert!(parent.may_live());
    assert!(!Holder { host: "elsewhere".to_owned(), ..parent }.may_live());
    assert!(!Holder { pid: 0, ..this.clone() }.may_live() && !Holder { pid: 0x7fff_fff0, ..this }.may_live());
}
