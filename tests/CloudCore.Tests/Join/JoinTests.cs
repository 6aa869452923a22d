using System.Net;
using System.Net.Sockets;
using Edge.Common.Configuration;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Cloud.Tests.Join;

/// <summary><c>edgectl join</c> as its user meets it: the executable, against a CloudCore that serves.</summary>
[Trait("Category", "Sync")]
public sealed class JoinTests(CloudCoreFixture cloud) : IClassFixture<CloudCoreFixture>, IDisposable
{
    private readonly TempDirectory _directory = new();

    private string Config => _directory.File("config/edgecore.yaml");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Join_writes_a_config_that_only_its_owner_can_read()
    {
        var joined = await JoinAsync();
        Assert.Equal((0, ""), (joined.ExitCode, joined.Error));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Config));
        Assert.Contains($"wrote {Config}; it holds the token, so only its owner can read it\n", joined.Output, StringComparison.Ordinal);
        Assert.Contains($"now start the node:  edgecore --config {Config}\n", joined.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(cloud.Token, joined.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_config_has_what_join_was_told()
    {
        var joined = await JoinAsync(
            "--labels", "line=2,hall=north", "--labels", "yes=no", "--remote-runtime-endpoint", "/run/other.sock", "--cgroupdriver", "systemd",
            "--set", "modules.edgeHub.heartbeat=7", "--set", "modules.edged.enable=false");
        Assert.Equal((0, ""), (joined.ExitCode, joined.Error));
        var modules = ConfigFile.Load(Config, []).Root.Section("modules");
        var (hub, edged) = (modules.Section("edgeHub"), modules.Section("edged"));
        Assert.Equal($"127.0.0.1:{cloud.HubPort}", hub.Section("websocket").Text("server", ""));
        Assert.Equal($"https://127.0.0.1:{cloud.EnrolmentPort}", hub.Text("httpServer", ""));
        Assert.Equal(cloud.Token, hub.Text("token", ""));
        Assert.Equal(7, hub.Int("heartbeat", 0, 1, 100));
        Assert.Equal("press-3", edged.Text("hostnameOverride", ""));
        Assert.False(edged.Bool("enable", true));
        Assert.Equal(new Dictionary<string, string> { ["line"] = "2", ["hall"] = "north", ["yes"] = "no" }, edged.Map("nodeLabels"));
        Assert.Equal("unix:///run/other.sock", edged.Section("tailoredKubeletConfig").Text("containerRuntimeEndpoint", ""));
        Assert.Equal("systemd", edged.Section("tailoredKubeletConfig").Text("cgroupDriver", ""));
        Assert.Contains("note: the container runtime's socket /run/other.sock does not exist yet; edgecore runs without pods until it does\n", joined.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Edgecore_connects_with_the_written_config_and_stops_on_sigterm()
    {
        Assert.Equal(0, (await JoinAsync("--set", "modules.edged.enable=false", "--set", "commonConfig.monitorServer.bindAddress=127.0.0.1:0")).ExitCode);
        using var edge = ChildProcess.Start(
            "edgecore", _directory.Path, Executables.Find("edgecore"), ["--config", Config, "--data-dir", _directory.File("edge")], TimeProvider.System);
        try
        {
            await Edge.Local.Wait.UntilAsync(
                "edgecore is ready", _ => Task.FromResult(edge.Died || IsReady(edge)), TimeSpan.FromSeconds(30), TimeProvider.System, CancellationToken.None);
            Assert.False(edge.Died, edge.LogTail(20));
        }
        finally
        {
            Assert.True(await edge.StopAsync(TimeSpan.FromSeconds(20)), edge.LogTail(20));
        }

        Assert.Equal(0, edge.ExitCode);
        Assert.DoesNotContain(cloud.Token.Split('.', 2)[1], await File.ReadAllTextAsync(edge.LogPath), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Joining_again_is_refused_and_with_force_replaces_the_config_and_its_mode()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Config)!);
        await File.WriteAllTextAsync(Config, "old: true\n");
        File.SetUnixFileMode(Config, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        var refused = await JoinAsync();
        Assert.Equal(
            (1, $"edgectl join: {Config} is there: this machine has joined before; 'edgectl reset' takes that back, and --force writes it anew (what was set in it is gone then)\n", ""),
            (refused.ExitCode, refused.Error, refused.Output));
        Assert.Equal("old: true\n", await File.ReadAllTextAsync(Config));
        Assert.Equal(0, (await JoinAsync("--force")).ExitCode);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Config));
        Assert.DoesNotContain("old", await File.ReadAllTextAsync(Config), StringComparison.Ordinal);
        // What `edgectl reset` goes by stands beside it; nothing half written does.
        Assert.Equal([Config, Config + ".join.json"], Directory.GetFiles(Path.GetDirectoryName(Config)!).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_path_with_blanks_is_one_word_of_the_command_that_starts_edgecore()
    {
        var (config, data) = (_directory.File("a b/it's.yaml"), _directory.File("c d"));
        string[] arguments = ["join", "--config-out", config, "--data-dir", data, "-e", $"127.0.0.1:{cloud.HubPort}", "--certport", $"{cloud.EnrolmentPort}", "--token", cloud.Token, "-i", "press-3"];
        var joined = await CloudCoreFixture.EdgectlAsync(arguments);
        Assert.Equal((0, ""), (joined.ExitCode, joined.Error));
        var said = joined.Output.Split("now start the node:  ")[1].Trim();
        Assert.Equal($"edgecore\n--config\n{config}\n--data-dir\n{data}\n", await Tool.RunAsync("sh", ["-c", $"printf '%s\\n' {said}"], new ToolOptions(TimeProvider.System), CancellationToken.None));

        // --start gives them to edgecore the same way: here a program that prints them.
        var bin = Directory.CreateDirectory(_directory.File("bin")).FullName;
        await File.WriteAllTextAsync(Path.Combine(bin, "edgecore"), "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
        File.SetUnixFileMode(Path.Combine(bin, "edgecore"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var started = await Tool.RunAsync(
            "env", ["-C", bin, $"PATH={bin}:{Environment.GetEnvironmentVariable("PATH")}", Executables.Find("edgectl"), .. arguments, "--force", "--start"], new ToolOptions(TimeProvider.System), CancellationToken.None);
        Assert.EndsWith($"--config\n{config}\n--data-dir\n{data}\n", started, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("secret-and-short", "it has 1 part(s) between dots, must be 4 (the CA's hash and a JWT)")]
    [InlineData("secret.b.c.d", "its first part is not a SHA-256 in 64 hex digits")]
    [InlineData("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.b.c.secret!", "its last three parts are not a JWT (letters, digits, '-' and '_')")]
    public async Task A_malformed_token_is_refused_and_not_repeated(string token, string why)
    {
        var joined = await JoinAsync("--token", token);
        Refused(joined, $"--token is malformed: {why}; print a new one with 'edgectl gettoken'");
        Assert.DoesNotContain("secret", joined.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_token_of_another_cloud_is_refused()
    {
        await using var other = await Support.Cloud.StartAsync();
        Refused(
            await JoinAsync("--token", await other.TokenAsync()),
            $"the CA served at https://127.0.0.1:{cloud.EnrolmentPort}/ca.crt is not the one that --token names: the token is of another cloud "
            + "(print a new one with 'edgectl gettoken' there), or something between here and there answers in CloudCore's place");
    }

    [Fact]
    public async Task An_enrolment_server_that_is_not_there_is_named_with_the_option_that_chooses_it()
    {
        using var free = PortLease.Take();
        var port = free.Port;
        Refused(
            await JoinAsync("--certport", $"{port}"),
            $"https://127.0.0.1:{port}/ca.crt cannot be reached: Connection refused; is CloudCore running, and is --certport its enrolment port?");
    }

    [Fact]
    public async Task A_hub_that_is_not_there_is_named_with_the_option_that_chooses_it()
    {
        using var free = PortLease.Take();
        var port = free.Port;
        Refused(await JoinAsync("--cloudcore-ipport", $"127.0.0.1:{port}"), $"CloudCore's hub 127.0.0.1:{port} (--cloudcore-ipport) cannot be reached: Connection refused");
    }

    [Theory]
    [InlineData("Press-3")]
    [InlineData("press_3")]
    [InlineData("-press")]
    [InlineData("press..3")]
    [InlineData("press-3\n")]
    public async Task A_name_that_no_node_can_have_is_refused(string name)
        => Refused(
            await JoinAsync("--edgenode-name", name),
            $"--edgenode-name '{name}' must be a DNS-1123 subdomain: at most 253 lower-case letters, digits, '-' and '.', each part starting and ending with a letter or digit");

    [Theory]
    [InlineData("--cloudcore-ipport", "127.0.0.1", "--cloudcore-ipport '127.0.0.1' must be HOST:PORT, e.g. 192.0.2.1:10000")]
    [InlineData("--cloudcore-ipport", "127.0.0.1:70000", "--cloudcore-ipport '127.0.0.1:70000' must be HOST:PORT, e.g. 192.0.2.1:10000")]
    [InlineData("--certport", "0", "--certport 0 must be from 1 to 65535")]
    [InlineData("--cgroupdriver", "cgroup2", "--cgroupdriver 'cgroup2' must be cgroupfs or systemd")]
    [InlineData("--remote-runtime-endpoint", "tcp://1.2.3.4:5", "--remote-runtime-endpoint 'tcp://1.2.3.4:5' must be unix:///PATH")]
    [InlineData("--labels", "line", "--labels 'line' must be key=value of a Kubernetes label, e.g. line=2")]
    [InlineData("--set", "heartbeat", "--set heartbeat: must be key.path=value, e.g. modules.edgeHub.heartbeat=10")]
    public async Task A_wrong_option_is_named_with_what_it_must_be(string option, string value, string message) => Refused(await JoinAsync(option, value), message);

    private static bool IsReady(ChildProcess edge) => File.Exists(edge.LogPath) && File.ReadAllText(edge.LogPath).Contains("edgecore is ready: node press-3", StringComparison.Ordinal);

    // The whole of what it says, and nothing is written.
    private void Refused(ToolResult joined, string message)
    {
        Assert.Equal((1, $"edgectl join: {message}\n", ""), (joined.ExitCode, joined.Error, joined.Output));
        Assert.False(File.Exists(Config));
    }

    // What the test gives comes in the place of the same option here.
    private Task<ToolResult> JoinAsync(params string[] given)
    {
        var arguments = new List<string> { "join", "--config-out", Config };
        foreach (var (option, value) in (ReadOnlySpan<(string, string)>)
            [("--cloudcore-ipport", $"127.0.0.1:{cloud.HubPort}"), ("--certport", $"{cloud.EnrolmentPort}"), ("--token", cloud.Token), ("--edgenode-name", "press-3")])
        {
            if (!given.Contains(option))
                arguments.AddRange([option, value]);
        }

        return CloudCoreFixture.EdgectlAsync([.. arguments, .. given]);
    }
}
