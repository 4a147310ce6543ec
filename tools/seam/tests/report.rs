//! `seam report` as typed: a page that is whole, needs nothing else, and says what the plan says.

mod common;

use std::process::Output;

use seam_tuner::Plan;
use seam_tuner::profile::ModelRef;

use common::{Files, refusal, text};

const PROFILES: [&str; 8] =
    ["--edge", "edge.json", "--cloud", "cloud.json", "--uplink", "100KiB/s", "--rtt", "1ms"];
const RUN: &str = r#"{"model":"net","point":"conv1","codec":null,"uploaded_bytes":4000,"timing":
    {"preprocess_ms":9.0,"edge_ms":41.0,"encode_ms":1.0,"upload_ms":40.0,"cloud_ms":3.0,
    "total_ms":94.0},"output":[0.5]}"#;
const EVALUATION: &str = r#"{"model":"net","images":50,"at":"conv1","fp32":{"top1":80.0,"top5":96.0},
    "int8":{"top1":78.0,"top5":95.0},"agreement":97.5,"sqnr_db":31.25}"#;

impl Files {
    /// Runs `seam report` with the further arguments.
    fn report(&self, further: &[&str]) -> Output {
        self.seam(&[&["report", "net.seam", "-o", "page.html"], further].concat())
    }

    /// The page that it writes.
    fn page(&self, further: &[&str]) -> String {
        let output = self.report(further);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stdout), "page: page.html\n");
        let page = std::fs::read_to_string(self.path("page.html")).unwrap();
        assert_whole(&page);
        page
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }
}

/// Every element is closed in its turn, attributes are quoted, and nothing is fetched.
fn assert_whole(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").expect("a document type");
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag that ends");
        let (tag, behind) = (&tag[..end], &tag[end + 1..]);
        rest = behind;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        match tag {
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "</{name}>"),
            _ if tag.ends_with('/') || name == "meta" => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    let own = page.replace("http://www.w3.org/2000/svg", "");
    for foreign in ["http:", "https:", "//", "<script", "<link", "<img", " src=", "@import", "NaN"]
    {
        assert!(!own.contains(foreign), "the page holds {foreign:?}");
    }
    assert_eq!(page.matches("url(").count(), page.matches("url(#hatch)").count());
}

/// From one text to another.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let start = page.find(from).unwrap_or_else(|| panic!("no {from:?} in {page}"));
    let end = page[start..].find(to).unwrap_or_else(|| panic!("no {to:?} behind {from:?}"));
    &page[start..start + end]
}

#[test]
fn the_page_shows_every_point_and_marks_the_chosen_one() {
    let page = Files::new().page(&PROFILES);
    for name in ["input", "conv1", "output"] {
        assert_eq!(page.matches(&format!("aria-label=\"{name}: ")).count(), 1, "{name}'s bar");
        assert_eq!(
            page.matches(&format!("<th scope=\"row\">{name}</th>")).count(),
            match name {
                // Also a step.
                "conv1" => 2,
                _ => 1,
            }
        );
    }
    let row = between(&page, "<tr class=\"chosen\"><th scope=\"row\">conv1</th>", "</tr>");
    assert!(row.contains("aria-label=\"best\"") && row.contains("aria-label=\"fastest\""), "{row}");
    // 40 + 4000 / 102.4 + 1 + 2 milliseconds.
    assert!(row.contains("82.1 ms") && row.contains("39.1 ms"), "{row}");
    assert_eq!(page.matches("aria-label=\"fastest\"").count(), 3, "legend, bar and table");
    for heading in ["Over the uplink", "Steps and kernels", "Memory over time"] {
        assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    for absent in ["<h2>Predicted beside measured", "<h2>Accuracy"] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn the_page_is_of_the_plan_that_seam_plan_makes() {
    let files = Files::new();
    let plan = [&["plan", "net.seam", "-o", "plan.json"], &PROFILES[..]].concat();
    assert!(files.seam(&plan).status.success());
    let whole = files.page(&PROFILES);
    let planned = files.page(&["--plan", "plan.json", "--edge", "edge.json"]);
    let points = |page: &str| between(page, "<h2>Where the time goes", "</table>").to_string();
    assert_eq!(points(&whole), points(&planned));
    assert!(planned.contains("<h2>Steps and kernels") && !planned.contains("<h2>Over the uplink"));
    let alone = files.page(&["--plan", "plan.json"]);
    assert!(alone.contains("<h2>Memory over time") && !alone.contains("<h2>Steps and kernels"));
    assert!(alone.contains(&files.edge.sha256()), "inputs by their hashes");
    assert_eq!(whole, files.page(&PROFILES), "the same inputs, the same page");
}

#[test]
fn constraints_and_objectives_show_at_the_points() {
    let files = Files::new();
    let further = ["--pin", "conv2=cloud", "--objective", "throughput"];
    let page = files.page(&[&PROFILES[..], &further].concat());
    let row = between(&page, "<tr class=\"excluded\"><th scope=\"row\">output</th>", "</tr>");
    assert!(row.contains("conv2 in the cloud"), "{row}");
    let row = between(&page, "<tr class=\"chosen\"><th scope=\"row\">conv1</th>", "</tr>");
    assert!(row.contains("<em>throughput</em>"), "{row}");
    assert!(page.contains("<dt>Constraints</dt><dd>conv2 in the cloud</dd>"));
}

#[test]
fn warnings_stand_at_the_top() {
    let mut files = Files::new();
    files.edge.seam_version = "0.0.1".into();
    let page = files.page(&PROFILES);
    let warning = between(&page, "<p class=\"warning\">", "</p>");
    assert!(warning.contains("Seam 0.0.1"), "{warning}");
}

#[test]
fn runs_stand_beside_the_prediction_by_their_medians() {
    let files = Files::new();
    let line = RUN.replace('\n', " ");
    let slower = line.replace("41.0", "45.0");
    let slowest = line.replace("41.0", "95.0");
    files.write("run.jsonl", &format!("{line}\n{slowest}\n\n{slower}\n"));
    let page = files.page(&[&PROFILES[..], &["--run", "run.jsonl"]].concat());
    let table = between(&page, "<h2>Predicted beside measured", "</table>");
    let row = between(table, "<th scope=\"row\">conv1</th>", "</tr>");
    // 45 + 1 + 40 + 3 milliseconds, 82.06 predicted: -7.8 %.
    for cell in ["<td>3</td>", "45.0 ms<small>40.0 ms", "89.0 ms<small>82.1 ms", "-7.8 %"] {
        assert!(row.contains(cell), "{cell} is not in {row}");
    }
    let bar = between(&page, "aria-label=\"conv1: ", ">");
    assert!(bar.contains("measured 89.0 ms"), "{bar}");
}

#[test]
fn accuracies_stand_in_the_order_of_the_points() {
    let files = Files::new();
    let at_output = EVALUATION.replace("conv1", "output").replace("31.25", "null");
    files.write("eval.json", &format!("{at_output}\n{EVALUATION}\n"));
    let page = files.page(&[&PROFILES[..], &["--eval", "eval.json"]].concat());
    let table = between(&page, "<h2>Accuracy", "</table>");
    let row = between(table, "<th scope=\"row\">conv1</th>", "<th scope=\"row\">output</th>");
    for cell in ["<td>50</td>", "80.00 %", "78.00 %", "<td>2.00</td>", "97.50 %", "31.2 dB"] {
        assert!(row.contains(cell), "{cell} is not in {row}");
    }
}

#[test]
fn names_from_a_model_cannot_break_out() {
    let files = Files::named("a<&\"'>b");
    let page = files.page(&PROFILES);
    let escaped = "a&lt;&amp;&quot;&#39;&gt;b";
    assert!(page.contains(&format!("<th scope=\"row\">{escaped}</th>")), "{page}");
    assert!(between(&page, "class=\"memory\"", "</svg>").contains(escaped));
    assert!(between(&page, "class=\"map\"", "</div>").contains(escaped));
    assert!(!page.contains("a<&") && !page.contains("\"'>b"));
}

#[test]
fn what_does_not_fit_is_refused_on_one_line() {
    let files = Files::new();
    files.write("empty", "\n");
    files.write("text", "no JSON\n");
    let line = RUN.replace('\n', " ");
    files.write("elsewhere", &line.replace("conv1", "conv7"));
    files.write("other", &line.replace("\"net\"", "\"other\""));
    files.write("negative", &line.replace("41.0", "-41.0"));
    files.write("far", &EVALUATION.replace("conv1", "conv7"));
    files.write("stranger", &EVALUATION.replace("\"net\"", "\"other\""));
    for (flag, file, words) in [
        ("--run", "empty", "empty holds no run"),
        ("--run", "text", "text, line 1: no run as `seam-edge infer --json` prints it"),
        ("--run", "elsewhere", "conv7"),
        ("--run", "other", "a run of other, the plan is of net"),
        ("--run", "negative", "less than no time"),
        ("--run", "missing", "cannot read missing"),
        ("--eval", "empty", "empty holds no evaluation"),
        ("--eval", "text", "text: nothing as `seam eval --json` prints it"),
        ("--eval", "far", "conv7"),
        ("--eval", "stranger", "an evaluation of other, the plan is of net"),
        ("--eval", "missing", "cannot read missing"),
        ("--plan", "text", "text: the plan cannot be understood"),
        ("--plan", "text", "plan anew with `seam plan`"),
    ] {
        let profiles = if flag == "--plan" { &[][..] } else { &PROFILES[..] };
        let output = files.report(&[profiles, &[flag, file]].concat());
        assert!(refusal(&output).contains(words), "{words:?}: {}", refusal(&output));
        assert!(!files.path("page.html").exists(), "{flag} {file}");
    }
}

#[test]
fn a_plan_or_a_profile_of_another_model_is_refused() {
    let mut files = Files::new();
    let plan = [&["plan", "net.seam", "-o", "plan.json"], &PROFILES[..]].concat();
    assert!(files.seam(&plan).status.success());
    files.edge.model = ModelRef::new("net", &[7; 32]);
    let output = files.report(&["--plan", "plan.json", "--edge", "edge.json"]);
    assert!(refusal(&output).contains("the edge profile is of model 070707070707,"), "{output:?}");
    let mut other = Plan::read(&files.path("plan.json")).unwrap();
    other.model = ModelRef::new("net", &[9; 32]);
    files.write("other.json", &other.to_json());
    let output = files.report(&["--plan", "other.json"]);
    assert!(refusal(&output).contains("the plan is of model 090909090909,"), "{output:?}");
}

#[test]
fn steps_of_another_profile_than_the_plans_are_told_apart() {
    let mut files = Files::new();
    let plan = [&["plan", "net.seam", "-o", "plan.json"], &PROFILES[..]].concat();
    assert!(files.seam(&plan).status.success());
    let run = |files: &Files| files.report(&["--plan", "plan.json", "--edge", "edge.json"]);
    let own = run(&files);
    assert!(own.status.success() && own.stderr.is_empty(), "{own:?}");
    files.edge.device.cpu = "another".into();
    let output = run(&files);
    let words = "the plan was made from another profile than the one given with --edge";
    assert!(text(&output.stderr).contains(words), "{output:?}");
    assert!(std::fs::read_to_string(files.path("page.html")).unwrap().contains(words));
}

#[test]
fn a_plan_or_all_that_makes_one_must_be_given() {
    let files = Files::new();
    let usage = |further: &[&str]| {
        let output = files.report(further);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        text(&output.stderr).to_string()
    };
    assert!(usage(&[]).contains("--cloud") && usage(&[]).contains("--uplink"));
    assert!(usage(&["--rtt", "1ms"]).contains("--cloud"));
    assert!(usage(&PROFILES[2..]).contains("--edge"));
    assert!(usage(&["--plan", "plan.json", "--rtt", "1ms"]).contains("cannot be used with"));
}
