using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.Cloud.Tests;

/// <summary>The executable as a user starts it.</summary>
[Trait("Category", "Sync")]
public sealed class ExecutableTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Ports_file_tells_where_it_listens_while_it_serves_and_goes_when_it_is_told_to_stop()
    {
        using var process = Start();
        using var limit = new CancellationTokenSource(s_patience);
        try
        {
            var ready = await process.StandardOutput.ReadLineAsync(limit.Token);
            Assert.StartsWith("cloudcore is ready: ", ready, StringComparison.Ordinal);
            var ports = JsonNode.Parse(await File.ReadAllTextAsync(_data.File("cloudcore.ports.json"), limit.Token))!;
            Assert.Equal(["api", "websocket", "https", "metrics", "kubeconfig"], ports.AsObject().Select(pair => pair.Key));
            foreach (var key in (string[])["api", "websocket", "https", "metrics"])
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, (int)ports.Number(0, key), limit.Token);
            }

            using var kube = new KubeClient(Kubeconfig.Load(ports.Text("kubeconfig")), TimeProvider.System, new Random(1));
            Assert.NotNull(await kube.TryGetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", limit.Token));
            using (var term = Process.Start("kill", ["-TERM", $"{process.Id}"]))
                await term.WaitForExitAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            Assert.Equal(0, process.ExitCode);
            Assert.False(File.Exists(_data.File("cloudcore.ports.json")));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    [Fact]
    public async Task Port_in_use_ends_it_with_one_line_that_names_port_and_setting()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        var (code, errors) = await FailAsync("--set", $"modules.apiServer.port={port}");
        Assert.Equal(1, code);
        var line = Assert.Single(errors, one => one.StartsWith("cloudcore: ", StringComparison.Ordinal));
        Assert.Contains($"127.0.0.1:{port} is in use", line, StringComparison.Ordinal);
        Assert.Contains("modules.apiServer.port", line, StringComparison.Ordinal);
        Assert.False(File.Exists(_data.File("cloudcore.ports.json")));
    }

    [Fact]
    public async Task Unknown_settings_end_it_with_a_line_each()
    {
        var (code, errors) = await FailAsync("--set", "modules.cloudHub.nodeLimt=5", "--set", "modules.cloudHub.keepaliveInterval=soon");
        Assert.Equal(1, code);
        Assert.Contains(errors, line => line.Contains("nodeLimt", StringComparison.Ordinal));
        Assert.Contains(errors, line => line.Contains("keepaliveInterval", StringComparison.Ordinal));
    }

    private async Task<(int Code, string[] Errors)> FailAsync(params string[] arguments)
    {
        using var process = Start(arguments);
        using var limit = new CancellationTokenSource(s_patience);
        try
        {
            var errors = await process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    private Process Start(params string[] arguments)
    {
        string[] free =
        [
            "modules.apiServer.port=0", "modules.cloudHub.websocket.port=0", "modules.cloudHub.https.port=0", "commonConfig.monitorServer.bindAddress=127.0.0.1:0",
            "modules.cloudHub.websocket.address=127.0.0.1", "modules.cloudHub.https.address=127.0.0.1",
        ];
        // The log is not read where the test does not ask for it, and a full pipe would stop the process.
        return Process.Start(new ProcessStartInfo(
            "dotnet", [Path.Combine(AppContext.BaseDirectory, "cloudcore.dll"), "--data-dir", _data.Path, .. free.SelectMany(one => new[] { "--set", one }), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = arguments.Length > 0,
        })!;
    }
}
