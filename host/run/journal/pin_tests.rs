use super::*;
use crate::base::json::Value as Json;
use crate::run::event::TargetInfo;
use crate::run::journal::entry;
use crate::run::journal::folder::Runs;

static LIBRARY: Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/stdlib");

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn header(source: &Source, files: BTreeMap<String, String>) -> Header {
    Header {
        v: entry::VERSION,
        run: "01KAM4B7X00000000000000AAA".to_owned(),
        what: "run".to_owned(),
        of: None,
        runbook: source.name.clone(),
        title: String::new(),
        source: source.file.clone(),
        files,
        params: BTreeMap::new(),
        typed: [].into(),
        target: TargetInfo { name: "kind".to_owned(), simulated: false },
        way: Json::Null,
        cluster: None,
        namespace: "default".to_owned(),
        version: "0.1.0".to_owned(),
        command: String::new(),
    }
}

fn names(pinned: &Pinned) -> Vec<&str> {
    pinned.files.keys().map(String::as_str).collect()
}

#[test]
fn a_folder_is_pinned_with_its_modules_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("web/runbook.luau", "on disk"),
            ("web/nodes.luau", "return 1"),
            ("web/parts/a.lua", "return 2"),
            ("web/fixture.yaml", "objects: []"),
            ("web/.git/x.luau", "no"),
            ("shared/checks.luau", "return 3"),
        ],
    );
    let mut source = Source::on_disk(&folder.path().join("web")).unwrap();
    source.text = "as it was loaded".into();
    let modules = [folder.path().join("shared")];
    let pinned = Pinned::gather(&source, &modules, &LIBRARY).unwrap().with("../values/p.yaml", "to: 1");
    assert_eq!(
        names(&pinned),
        ["data/p.yaml", "modules/0/checks.luau", "runbook/nodes.luau", "runbook/parts/a.lua", "runbook/runbook.luau"]
    );
    assert_eq!(pinned.hashes()["runbook/runbook.luau"], sha256(b"as it was loaded"), "not what a second reading gives");
    let run = Runs::at(folder.path().join("runs")).create("01KAM4B7X00000000000000AAA").unwrap();
    pinned.write(&run).unwrap();
    let header = header(&source, pinned.hashes());
    let (again, shelves) = super::pinned(&run, &header).unwrap();
    assert_eq!((again.name.as_str(), &*again.text, &again.file), ("web", "as it was loaded", &source.file));
    assert_eq!(again.beside.read("parts/a.lua").unwrap().as_deref(), Some("return 2"));
    assert_eq!(fs::read_to_string(shelves[0].join("checks.luau")).unwrap(), "return 3");
    for folder in ["script/runbook", "script/runbook/parts", "script/modules/0", "script/data"] {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(run.path().join(folder)).unwrap());
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
    assert_eq!(data(&run, "../values/p.yaml").unwrap().as_deref(), Some("to: 1"));
    assert_eq!(data(&run, "fixture.yaml").unwrap(), None);
    fs::write(run.path().join("script/runbook/nodes.luau"), "return 9").unwrap();
    let spoilt = super::pinned(&run, &header).unwrap_err();
    assert_eq!(spoilt.causes, ["`script/runbook/nodes.luau` is not as the run began with it"]);
}

#[test]
fn a_lone_file_takes_what_it_names_but_not_the_folders_below() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("a.luau", "local x = require \"lib/x\"\nrequire('beside')"),
            ("lib/x.luau", "return require(\"lib/y\")"),
            ("lib/y.lua", "return 1"),
            ("lib/z.luau", "return 2"),
            ("beside.luau", "return 3"),
            ("notes.luau", "-- nobody requires it"),
        ],
    );
    let source = Source::on_disk(&folder.path().join("a.luau")).unwrap();
    let pinned = Pinned::gather(&source, &[], &LIBRARY).unwrap();
    assert_eq!(names(&pinned), ["runbook/a.luau", "runbook/beside.luau", "runbook/lib/x.luau", "runbook/lib/y.lua"]);
    let run = Runs::at(folder.path().join("runs")).create("01KAM4B7X00000000000000AAA").unwrap();
    pinned.write(&run).unwrap();
    let (again, shelves) = super::pinned(&run, &header(&source, pinned.hashes())).unwrap();
    assert_eq!((again.name.as_str(), shelves.len()), ("a", 0));
    assert_eq!(again.text, source.text);
}

#[test]
fn a_bundled_runbook_is_pinned_too() {
    let name = Source::bundled_names().into_iter().next().unwrap();
    let source = Source::bundled(&name).unwrap();
    let pinned = Pinned::gather(&source, &[], &LIBRARY).unwrap();
    assert!(names(&pinned).contains(&"runbook/runbook.luau"), "{:?}", names(&pinned));
    let folder = tempfile::tempdir().unwrap();
    let run = Runs::at(folder.path()).create("01KAM4B7X00000000000000AAA").unwrap();
    pinned.write(&run).unwrap();
    let (again, _) = super::pinned(&run, &header(&source, pinned.hashes())).unwrap();
    assert_eq!((again.text, again.file), (source.text, source.file));
}

#[test]
fn differences_are_named_as_people_know_them() {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect();
    let then: BTreeMap<String, String> = map(&[
        ("runbook/runbook.luau", "1"),
        ("runbook/old.luau", "1"),
        ("data/p.yaml", "1"),
        ("@stdlib", "1"),
        ("@version", "0.1.0"),
        ("modules/0/same.luau", "1"),
    ]);
    let now: BTreeMap<String, String> = map(&[
        ("runbook/runbook.luau", "2"),
        ("runbook/new.luau", "1"),
        ("@stdlib", "2"),
        ("@version", "0.2.0"),
        ("modules/0/same.luau", "1"),
    ]);
    let told: Vec<String> = differences(&then, &now).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the standard library of lockgate is another",
            "lockgate 0.1.0 began it, and this is 0.2.0",
            "`new.luau` is new",
            "`old.luau` is gone",
            "`runbook.luau` has changed",
        ]
    );
    assert!(differences(&then, &then).is_empty());
}

#[test]
fn a_lone_file_that_makes_up_a_name_takes_its_whole_folder() {
    let required = |text: &str| super::required(text);
    assert_eq!(required("local a = require \"a\" -- we require more\nrequired(x) requires y"), (vec!["a".to_owned()], true));
    for text in ["require(name)", "pcall(require, \"a\")", "local r = require", "require(`a{x}`)", "require(\n\"a\")"] {
        assert!(!required(text).1, "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a.luau", "require(\"b\")"), ("b.luau", "return require(name)"), ("c.luau", "return 1"), ("d/e.luau", "")]);
    let source = Source::on_disk(&folder.path().join("a.luau")).unwrap();
    let pinned = Pinned::gather(&source, &[], &LIBRARY).unwrap();
    assert_eq!(names(&pinned), ["runbook/a.luau", "runbook/b.luau", "runbook/c.luau"]);
}

#[test]
fn a_folder_of_modules_with_nothing_in_it_keeps_the_others_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("r/runbook.luau", "x"), ("empty/read.me", "-"), ("one/mine.luau", "return 1"), ("two/mine.luau", "return 2")]);
    let source = Source::on_disk(&folder.path().join("r")).unwrap();
    let modules = ["empty", "one", "empty", "two"].map(|name| folder.path().join(name));
    let pinned = Pinned::gather(&source, &modules, &LIBRARY).unwrap();
    let run = Runs::at(folder.path().join("runs")).create("01KAM4B7X00000000000000AAA").unwrap();
    pinned.write(&run).unwrap();
    let (_, shelves) = super::pinned(&run, &header(&source, pinned.hashes())).unwrap();
    let read: Vec<String> = shelves.iter().map(|shelf| fs::read_to_string(shelf.join("mine.luau")).unwrap()).collect();
    assert_eq!(read, ["return 1", "return 2"]);
}
