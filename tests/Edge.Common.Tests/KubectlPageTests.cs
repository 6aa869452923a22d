using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Edge.Local.Processes;

namespace Edge.Common.Tests;

/// <summary>docs/kubectl.md is made from the <c>[KubectlVerb]</c>s of the tests that run kubectl: what it says works is shown by a test.</summary>
[Trait("Category", "Kubernetes")]
public sealed partial class KubectlPageTests
{
    private const string Rewrite = "EDGE_WRITE_DOCS";
    private const string Begin = "<!-- made from the tests: begin -->";
    private const string End = "<!-- made from the tests: end -->";

    // The commands of kubectl 1.32's own help, in its order, without those that tell of kubectl itself.
    private static readonly string[] s_verbs =
    [
        "create", "expose", "run", "set", "explain", "get", "edit", "delete", "rollout", "scale", "autoscale", "certificate", "cluster-info", "top", "cordon", "uncordon", "drain", "taint", "describe", "logs",
        "attach", "exec", "port-forward", "proxy", "cp", "auth", "debug", "events", "diff", "apply", "patch", "replace", "wait", "kustomize", "label", "annotate", "completion", "api-resources",
        "api-versions", "config", "plugin", "version",
    ];

    private static readonly string[] s_local = ["kustomize", "completion", "config", "plugin"];

    [Fact]
    public void The_page_says_what_the_tests_show()
    {
        var shown = Shown();
        var unknown = shown.Select(one => one.Verb).Except(s_verbs).ToList();
        Assert.True(unknown.Count == 0, $"[KubectlVerb] names what kubectl --help does not: {string.Join(", ", unknown)}");
        var path = Path.Combine(Root(), "docs", "kubectl.md");
        var page = File.ReadAllText(path);
        var (begin, end) = (page.IndexOf(Begin, StringComparison.Ordinal), page.IndexOf(End, StringComparison.Ordinal));
        Assert.True(begin >= 0 && end > begin, $"docs/kubectl.md lacks its marks '{Begin}' and '{End}'");
        var wanted = page[..(begin + Begin.Length)] + "\n" + Table(shown) + page[end..];
        if (Environment.GetEnvironmentVariable(Rewrite) == "1")
            File.WriteAllText(path, wanted);
        else
            Assert.True(page == wanted, $"docs/kubectl.md is not what the tests show; write it anew with: {Rewrite}=1 dotnet test tests/Edge.Common.Tests --filter KubectlPageTests");
    }

    private static string Table(List<(string Verb, string Works, string Test)> shown)
    {
        var text = new StringBuilder("| verb | what is tested | by |\n|---|---|---|\n");
        var rest = new List<string>();
        foreach (var verb in s_verbs)
        {
            var own = shown.Where(one => one.Verb == verb).ToList();
            if (own.Count > 0)
                text.Append(CultureInfo.InvariantCulture, $"| `{verb}` | {string.Join("; ", own.Select(one => one.Works).Distinct())} | {string.Join(", ", own.Select(one => one.Test).Distinct())} |\n");
            else if (!s_local.Contains(verb))
                rest.Add($"`{verb}`");
        }

        text.Append(rest.Count > 0 ? $"\nWithout a test so far: {string.Join(", ", rest)}.\n" : "\nEvery verb that needs an API has its test.\n");
        text.Append(CultureInfo.InvariantCulture, $"Done by kubectl alone, without an API: {string.Join(", ", s_local.Select(verb => $"`{verb}`"))}.\n");
        return text.ToString();
    }

    private static List<(string Verb, string Works, string Test)> Shown()
    {
        var shown = new List<(string, string, string)>();
        foreach (var file in Directory.EnumerateFiles(Path.Combine(Root(), "tests"), "*.cs", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            if (Path.GetRelativePath(Root(), file).Split('/').Any(part => part is "obj" or "bin"))
                continue;
            var source = File.ReadAllText(file);
            foreach (Match block in BlockPattern().Matches(source))
            {
                foreach (Match verb in VerbPattern().Matches(block.Groups["verbs"].Value))
                    shown.Add((verb.Groups["verb"].Value, verb.Groups["works"].Value, Path.GetFileNameWithoutExtension(file)));
            }
        }

        Assert.True(shown.Count > 20, "the tests of this checkout name verbs");
        return shown;
    }

    private static string Root() => Executables.SourceTree ?? throw new InvalidOperationException("no Edge.sln above the test's folder; run the tests in a checkout");

    // The attributes right above a test.
    [GeneratedRegex("""(?<verbs>(^    \[KubectlVerb\("[^\n]*\n)+)    public async Task \w+""", RegexOptions.Multiline)]
    private static partial Regex BlockPattern();

    [GeneratedRegex("""\[KubectlVerb\("(?<verb>[^"]+)", "(?<works>[^"]+)"\)\]""")]
    private static partial Regex VerbPattern();
}
