using System.Diagnostics;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Clients;

/// <summary>Debian's python3-kubernetes, unchanged.</summary>
[Trait("Category", "Kubernetes")]
public sealed class PythonClientTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    // Debian's own interpreter: another python3 on PATH does not see Debian's packages.
    private const string Python = "/usr/bin/python3";
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(3);
    private static readonly Lazy<bool> s_isThere = new(() => File.Exists(Python) && Directory.Exists("/usr/lib/python3/dist-packages/kubernetes"));

    [SkippableFact]
    public async Task List_watch_patch_create_pages_errors_reviews_and_tokens_work()
    {
        Skip.IfNot(s_isThere.Value, "no python3-kubernetes (Debian package)");
        using var process = Start("everyday.py", await api.NamespaceAsync());
        using var deadline = new CancellationTokenSource(s_limit);
        var output = process.StandardOutput.ReadToEndAsync(deadline.Token);
        var errors = process.StandardError.ReadToEndAsync(deadline.Token);
        await process.WaitForExitAsync(deadline.Token);
        Assert.True(process.ExitCode == 0 && (await output).EndsWith("DONE\n", StringComparison.Ordinal), $"{await output}\n{await errors}");
    }

    [SkippableFact]
    public async Task Of_two_candidates_one_leads_and_the_other_takes_over_when_it_dies()
    {
        Skip.IfNot(s_isThere.Value, "no python3-kubernetes (Debian package)");
        var ns = await api.NamespaceAsync();
        using var first = Start("leader.py", ns, "first");
        using var second = new Process { StartInfo = Info("leader.py", ns, "second") };
        var hasBegun = false;
        try
        {
            await LeadsAsync(first);
            Assert.Equal("first", (await api.GetAsync($"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases/election")).Text("spec", "holderIdentity"));
            hasBegun = second.Start();
            first.Kill();
            await LeadsAsync(second);
            Assert.Equal("second", (await api.GetAsync($"/apis/coordination.k8s.io/v1/namespaces/{ns}/leases/election")).Text("spec", "holderIdentity"));
        }
        finally
        {
            first.Kill();
            if (hasBegun)
                second.Kill();
        }
    }

    private static async Task LeadsAsync(Process process)
    {
        using var deadline = new CancellationTokenSource(s_limit);
        while (await process.StandardOutput.ReadLineAsync(deadline.Token) is { } line)
        {
            if (line == "LEADING")
                return;
        }

        Assert.Fail($"the candidate ended: {await process.StandardError.ReadToEndAsync(deadline.Token)}");
    }

    private Process Start(string script, params string[] arguments) => Process.Start(Info(script, arguments))!;

    private ProcessStartInfo Info(string script, params string[] arguments)
    {
        var start = new ProcessStartInfo(Python) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])[Path.Combine(AppContext.BaseDirectory, "Clients", script), api.Server.KubeconfigPath, .. arguments])
            start.ArgumentList.Add(argument);
        start.Environment.Remove("KUBECONFIG");
        start.Environment["PYTHONUNBUFFERED"] = "1";
        return start;
    }
}
