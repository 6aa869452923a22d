using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Ctl.Commands;
using Edge.Ctl.OnNode;
using Xunit;

namespace Edge.Ctl.Tests;

/// <summary>edgectl on a node: what it prints and how it judges.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 22, 4, 0, 0, TimeSpan.Zero);

    private static readonly NodeObservations s_well = new()
    {
        CloudAddress = "cloud:10000", ConnectProblem = "", ClockAhead = TimeSpan.FromSeconds(1), RunsPods = true, RuntimeSocket = "unix:///run/containerd/containerd.sock", RuntimeVersion = "containerd 1.7",
        CertificateFile = "/c", CertificateEnds = s_now.AddDays(100), DataDirectory = "/var/lib/kubeedge", Disk = (50L << 30, 100L << 30), Memory = (1L << 30, 2L << 30), Database = "ok", IsRunning = true,
    };

    [Fact]
    public void Table_is_printed_as_kubectl_prints_it()
    {
        var table = JsonNode.Parse("""
            {"kind":"Table","columnDefinitions":[{"name":"Name","priority":0},{"name":"Ready","priority":0},{"name":"IP","priority":1}],
             "rows":[{"cells":["web","1/1","10.0.0.2"],"object":{"metadata":{"namespace":"shop"}}}]}
            """)!.AsObject();
        Assert.Equal("NAME   READY\nweb    1/1\n", NodeGet.Table(table, isWide: false, withNamespace: false));
        Assert.Equal("NAMESPACE   NAME   READY   IP\nshop        web    1/1     10.0.0.2\n", NodeGet.Table(table, isWide: true, withNamespace: true));
        Assert.Contains("web", NodeGet.Table(JsonNode.Parse("""{"kind":"PodList","items":[{"metadata":{"name":"web","namespace":"shop"}}]}""")!.AsObject(), false, false), StringComparison.Ordinal);
    }

    [Fact]
    public void Description_of_a_Secret_has_no_values()
    {
        var text = NodeGet.Describe(JsonNode.Parse("""{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s","namespace":"d"},"data":{"password":"aHVudGVyMg=="}}""")!.AsObject());
        Assert.DoesNotContain("aHVudGVyMg", text, StringComparison.Ordinal);
        Assert.Contains("9 bytes", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"status":"Success"}""", 0, "")]
    [InlineData("""{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}""", 3, "")]
    [InlineData("""{"status":"Failure","message":"no such file"}""", 1, "no such file")]
    [InlineData("{", 1, "cannot be read")]
    public void Exit_code_is_that_of_the_command(string status, int code, string text)
    {
        var (read, said) = NodePods.ExitCode(Encoding.UTF8.GetBytes(status));
        Assert.Equal(code, read);
        Assert.Contains(text, said, StringComparison.Ordinal);
    }

    [Fact]
    public void Healthy_node_has_nothing_wrong()
    {
        Assert.All(NodeChecks.Judge(s_well, s_now), finding => Assert.True(finding.IsGood, finding.ToString()));
        Assert.Equal("nothing is wrong\n", DebugCommand.Report(NodeChecks.Judge(s_well, s_now), all: false));
    }

    [Fact]
    public void Each_thing_that_is_wrong_is_named_with_its_fix()
    {
        foreach (var (seen, check, found) in ((NodeObservations, string, string)[])
            [
                (s_well with { ConfigProblem = "line 3: bad" }, "config", "line 3"), (s_well with { NameProblem = "cloud: unknown" }, "dns", "unknown"), (s_well with { ConnectProblem = "refused" }, "network", "cloud:10000: refused"),
                (s_well with { ClockAhead = TimeSpan.FromMinutes(-5) }, "clock", "300 s behind"), (s_well with { RuntimeProblem = "no such file" }, "runtime", "no such file"),
                (s_well with { CertificateEnds = s_now.AddDays(-1) }, "certificate", "ended 2026-11-21"), (s_well with { CertificateEnds = null }, "certificate", "no token"), (s_well with { Disk = (1L << 30, 100L << 30) }, "disk", "1024 MiB of"),
                (s_well with { Memory = (1L << 20, 2L << 30) }, "memory", "1 MiB"), (s_well with { Database = "malformed" }, "database", "malformed"),
                (s_well with { IsRunning = false, TakenPorts = ["10350 (readOnlyPort)"] }, "ports", "10350"),
            ])
        {
            var finding = NodeChecks.Judge(seen, s_now).Single(one => one.Check == check);
            Assert.False(finding.IsGood);
            Assert.Contains(found, finding.Found, StringComparison.Ordinal);
            Assert.NotEmpty(finding.Fix);
        }

        Assert.DoesNotContain(NodeChecks.Judge(s_well with { RunsPods = false }, s_now), one => one.Check == "runtime");
        Assert.True(NodeChecks.Judge(s_well with { CertificateEnds = null, HasToken = true }, s_now).Single(one => one.Check == "certificate").IsGood);
    }

    [Fact]
    public void Archive_holds_no_secret()
    {
        const string config = "modules:\n  edgeHub:\n    token: abc123.eyJhbGciOi.eyJzdWIiOi.sig\n  eventBus:\n    mqttPassword: \"hunter2\"\nAuthorization: Bearer topsecret\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\nnode: edge-1\n";
        var path = Path.GetTempFileName();
        try
        {
            NodeBundle.Write(path, [("edgecore.yaml", NodeBundle.WithoutSecrets(config, []))], s_now);
            using var tar = new TarReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
            var entry = tar.GetNextEntry()!;
            using var reader = new StreamReader(entry.DataStream!);
            var text = reader.ReadToEnd();
            Assert.Equal("edge-debug/edgecore.yaml", entry.Name);
            foreach (var secret in (string[])["abc123", "eyJzdWIiOi", "hunter2", "topsecret", "AAAA"])
                Assert.DoesNotContain(secret, text, StringComparison.Ordinal);
            Assert.Contains("node: edge-1", text, StringComparison.Ordinal);
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData("modules: {edgeHub: {token: hunter-22, heartbeat: 15}}")]
    [InlineData("""{"modules":{"edgeHub":{"token":"hunter-22","heartbeat":15}}}""")]
    [InlineData("modules:\n  edgeHub:\n    heartbeat: 15\n    token: >-\n      hunter-22\n")]
    [InlineData("modules:\n  edgeHub:\n    heartbeat: 15\n    token: |\n      hunter-22\n      hunter-22\n")]
    [InlineData("modules:\n- token: hunter-22\n  edgeHub: {heartbeat: 15}\n")]
    [InlineData("modules: # hunter-22\n  edgeHub: {mqttPassword: [hunter-22, {a: hunter-22}], heartbeat: 15}\n")]
    [InlineData("modules:\n  edgeHub:\n    heartbeat: 15\n    \"tok\\u0065n\": hunter-22\n")]
    public void A_config_is_masked_by_its_keys_however_it_is_written(string config)
    {
        var secrets = new List<string>();
        var masked = NodeBundle.Config(config, secrets);
        Assert.DoesNotContain("hunter", masked, StringComparison.Ordinal);
        Assert.Contains("heartbeat: 15", masked, StringComparison.Ordinal);
        Assert.Equal("the token is *** here", NodeBundle.WithoutSecrets($"the token is {secrets[0]} here", secrets));
    }

    [Fact]
    public void A_config_that_cannot_be_parsed_is_left_out_and_its_name_of_a_file_is_no_secret()
    {
        var text = NodeBundle.Config("token: {hunter-22", []);
        Assert.StartsWith("left out: the config cannot be parsed", text, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter", text, StringComparison.Ordinal);
        Assert.Contains("/etc/k.key", NodeBundle.Config("localAPITokenFile: /etc/k.key", []), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"level\":\"info\",\"token\":\"hunter-22\",\"node\":\"edge-1\"}")]
    [InlineData("10:00 edgehub: node=edge-1 password=hunter-22")]
    [InlineData("- token: hunter-22\n  node: edge-1")]
    [InlineData("{token: 'hunter-22', node: edge-1}")]
    public void Lines_of_a_log_are_masked_wherever_the_key_stands(string line)
    {
        var masked = NodeBundle.WithoutSecrets(line, []);
        Assert.DoesNotContain("hunter", masked, StringComparison.Ordinal);
        Assert.Contains("edge-1", masked, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Collect_packs_the_log_without_what_the_config_keeps_secret()
    {
        var directory = Directory.CreateTempSubdirectory("edge-").FullName;
        try
        {
            var (config, log, archive) = (Path.Combine(directory, "edgecore.yaml"), Path.Combine(directory, "edgecore.log"), Path.Combine(directory, "debug.tar.gz"));
            await File.WriteAllTextAsync(config, "kind: EdgeCore\nmodules:\n  edgeHub: {token: hunter-22, httpServer: 'https://127.0.0.1:1', websocket: {server: '127.0.0.1:1'}}\n  edged: {enable: false}\n");
            await File.WriteAllTextAsync(log, "the cloud at 127.0.0.1 refused hunter-22\n");
            Assert.Equal(0, await DebugCommand.Create().Parse(["collect", "--config", config, "--data-dir", directory, "--log", log, "--to", archive]).InvokeAsync());
            await using var file = File.OpenRead(archive);
            await using var zip = new GZipStream(file, CompressionMode.Decompress);
            await using var tar = new TarReader(zip);
            var all = new Dictionary<string, string>();
            while (await tar.GetNextEntryAsync() is { } entry)
            {
                using var reader = new StreamReader(entry.DataStream ?? Stream.Null);
                all[entry.Name] = await reader.ReadToEndAsync();
            }

            Assert.Equal("the cloud at 127.0.0.1 refused ***\n", all["edge-debug/edgecore.log"]);
            Assert.All(all.Values, text => Assert.DoesNotContain("hunter", text, StringComparison.Ordinal));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public async Task Node_without_a_cloud_and_without_edgecore_is_looked_at_all_the_same()
    {
        var directory = Directory.CreateTempSubdirectory("edge-").FullName;
        try
        {
            var config = Path.Combine(directory, "edgecore.yaml");
            await File.WriteAllTextAsync(config, "kind: EdgeCore\nmodules:\n  edgeHub: {httpServer: 'https://127.0.0.1:1', websocket: {server: '127.0.0.1:1'}}\n  edged: {enable: false}\ncommonConfig: {monitorServer: {bindAddress: '127.0.0.1:0'}}\n");
            var seen = await new NodeObserver(config, directory, TimeProvider.System).LookAsync(CancellationToken.None);
            Assert.Equal(("", "127.0.0.1:1", false, false), (seen.ConfigProblem, seen.CloudAddress, seen.RunsPods, seen.IsRunning));
            Assert.NotEmpty(seen.ConnectProblem!);
            Assert.Null(seen.ClockAhead);
            Assert.Null(seen.Database);
            await File.WriteAllTextAsync(Path.Combine(directory, "edgecore.db"), new string('x', 4096));
            Assert.DoesNotContain("ok", (await new NodeObserver(config, directory, TimeProvider.System).LookAsync(CancellationToken.None)).Database, StringComparison.Ordinal);
            Assert.NotEmpty((await new NodeObserver(Path.Combine(directory, "none.yaml"), directory, TimeProvider.System).LookAsync(CancellationToken.None)).ConfigProblem);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
