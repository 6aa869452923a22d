using Edge.Ctl.Batch;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Ctl.Tests.Batch;

/// <summary><c>edgectl batch</c>: what it reads, what it hands to ssh, and what it says. A program named ssh stands for the network and the far machine: it runs what comes on its input here.</summary>
[Trait("Category", "Kubernetes")]
public sealed class BatchTests : IDisposable
{
    private const string File3 = """
        keadm:
          cmdTplArgs:
            cmd: join -e 192.0.2.1:10000 --token SECRET
        maxRunNum: 2
        nodes:
          - nodeName: edge-1
            keadmCmd: "{{.cmd}} -i edge-1"
            ssh: {ip: 192.0.2.11, username: admin, port: 2222}
          - nodeName: edge-2
            keadmCmd: "{{ .cmd }} -i edge-2"
            ssh: {ip: 192.0.2.12}
          - nodeName: edge-3
            keadmCmd: "reset --force"
            ssh: {ip: away.example.com}
        """;

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_plan_is_read_with_its_templates()
    {
        var plan = BatchPlan.Parse(File3);
        Assert.Equal((3, 2), (plan.Nodes.Count, plan.AtOnce));
        Assert.Equal("join -e 192.0.2.1:10000 --token SECRET -i edge-2", plan.Nodes[1].Command);
        Assert.Equal(["-o", "BatchMode=yes", "-o", "ConnectTimeout=9", "-p", "2222", "-l", "admin", "--", "192.0.2.11", "sh", "-s"], plan.Nodes[0].SshArguments(9));
        Assert.Equal(("root", 22), (plan.Nodes[1].User, plan.Nodes[1].Port));
    }

    [Theory]
    [InlineData("nodes: []", "nodes is empty")]
    [InlineData("hosts: []", "hosts is not a known key")]
    [InlineData("nodes: [{nodeName: a}]", "keadmCmd must be one line")]
    [InlineData("nodes: [{nodeName: a, keadmCmd: '{{.x}}', ssh: {ip: h}}]", "only those of keadm.cmdTplArgs are known")]
    [InlineData("nodes: [{nodeName: a, keadmCmd: reset, ssh: {ip: '-oProxyCommand=x'}}]", "ssh.ip is '-oProxyCommand=x'")]
    [InlineData("nodes: [{nodeName: a, keadmCmd: reset, ssh: {ip: h, port: 0}}]", "ssh.port is 0")]
    [InlineData("nodes: [{nodeName: a, keadmCmd: reset, ssh: {ip: h, auth: {type: password}}}]", "passwordAuth is not possible")]
    [InlineData("nodes: [{nodeName: a, keadmCmd: reset, ssh: {ip: h, auth: {privateKeyAuth: {privateKeyPath: /none}}}}]", "/none does not exist")]
    [InlineData("nodes: [{nodeName: a, keadmCmd: reset, ssh: {ip: h}}, {nodeName: a, keadmCmd: reset, ssh: {ip: h}}]", "'a' is named twice")]
    [InlineData("{maxRunNum: 0, nodes: [{nodeName: a, keadmCmd: reset, ssh: {ip: h}}]}", "maxRunNum is 0")]
    public void What_cannot_be_is_said_before_anything_is_done(string text, string problem)
        => Assert.Contains(problem, Assert.Throws<BatchException>(() => BatchPlan.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Every_node_is_run_one_failure_stops_nobody_and_no_secret_is_shown()
    {
        Program("ssh", $$"""
            echo "$*" >> {{_directory.File("calls")}}
            case "$*" in *away*) echo "ssh: connect to host away.example.com port 22: No route to host" >&2; exit 255 ;; esac
            exec sh -s
            """);
        Program("edgectl", $$"""
            echo "$*" >> {{_directory.File("ran")}}
            case "$*" in *edge-2*) echo "the token has expired" >&2; exit 1 ;; esac
            """);
        var file = _directory.File("nodes.yaml");
        await File.WriteAllTextAsync(file, File3);
        var options = new ToolOptions(TimeProvider.System) { Environment = new Dictionary<string, string> { ["PATH"] = $"{_directory.File("bin")}:{Environment.GetEnvironmentVariable("PATH")}" } };

        var dry = await Tool.TryRunAsync(Executables.Find("edgectl"), ["batch", "-c", file, "--dry-run"], options, CancellationToken.None);
        Assert.Equal("edge-1: ssh admin@192.0.2.11:2222, edgectl join\nedge-2: ssh root@192.0.2.12:22, edgectl join\nedge-3: ssh root@away.example.com:22, edgectl reset\n", dry.Output);
        Assert.False(File.Exists(_directory.File("calls")));

        var result = await Tool.TryRunAsync(Executables.Find("edgectl"), ["batch", "-c", file], options, CancellationToken.None);
        Assert.Equal((1, "edgectl batch: failed: edge-2, edge-3\n"), (result.ExitCode, result.Error));
        Assert.Contains("edge-1 done in ", result.Output, StringComparison.Ordinal);
        Assert.Contains("ended with 1: the token has expired", result.Output, StringComparison.Ordinal);
        Assert.Contains("No route to host", result.Output, StringComparison.Ordinal);
        Assert.EndsWith("1 of 3 nodes done\n", result.Output, StringComparison.Ordinal);
        Assert.Equal(["join -e 192.0.2.1:10000 --token SECRET -i edge-1", "join -e 192.0.2.1:10000 --token SECRET -i edge-2"], (await File.ReadAllLinesAsync(_directory.File("ran"))).Order(StringComparer.Ordinal));
        Assert.DoesNotContain("SECRET", await File.ReadAllTextAsync(_directory.File("calls")) + result.Output + result.Error, StringComparison.Ordinal);
    }

    private void Program(string name, string script)
    {
        var path = Path.Combine(Directory.CreateDirectory(_directory.File("bin")).FullName, name);
        File.WriteAllText(path, "#!/bin/sh\n" + script.ReplaceLineEndings("\n") + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }
}
