using System.Diagnostics;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Runs one kubectl binary in a namespace of its own.</summary>
internal sealed class KubectlRunner(string binary, string kubeconfig, string @namespace, string directory)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(40);

    public string Namespace => @namespace;

    public string Editor { get; set; } = "false";

    public string File(string name, string content)
    {
        var path = Path.Combine(directory, name);
        System.IO.File.WriteAllText(path, content);
        return path;
    }

    /// <summary>Runs to a good end; returns what was printed.</summary>
    public async Task<string> OkAsync(string arguments, bool withErrors = false)
    {
        var (code, output, errors) = await RunAsync(arguments);
        Assert.True(code == 0, $"kubectl {arguments}: exit {code}\n{output}\n{errors}");
        return withErrors ? output + errors : output;
    }

    /// <summary>Runs to a bad end; returns the error text.</summary>
    public async Task<string> FailAsync(string arguments)
    {
        var (code, output, errors) = await RunAsync(arguments);
        Assert.True(code != 0, $"kubectl {arguments} succeeded\n{output}");
        return errors;
    }

    /// <summary>Runs to whatever end.</summary>
    public Task<(int Code, string Output, string Errors)> CodeAsync(string arguments) => RunAsync(arguments);

    /// <summary>The same cluster and namespace, as whom a bearer token says.</summary>
    public KubectlRunner WithToken(string token)
    {
        var lines = System.IO.File.ReadAllLines(kubeconfig).Where(line => !line.Contains("client-key-data:", StringComparison.Ordinal))
            .Select(line => line.Contains("client-certificate-data:", StringComparison.Ordinal) ? $"    token: {token}" : line);
        return new KubectlRunner(binary, File($"{Guid.NewGuid():N}.kubeconfig", string.Join('\n', lines)), @namespace, directory);
    }

    /// <summary>Arguments are separated by single spaces.</summary>
    public Process Start(string arguments)
    {
        var start = new ProcessStartInfo(binary) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = directory };
        foreach (var argument in (string[])["--kubeconfig", kubeconfig, "-n", @namespace, .. arguments.Split(' ')])
            start.ArgumentList.Add(argument);
        start.Environment["HOME"] = directory; // the discovery cache of this test alone
        start.Environment["EDITOR"] = Editor;
        start.Environment.Remove("KUBE_EDITOR");
        start.Environment.Remove("KUBECONFIG");
        return Process.Start(start)!;
    }

    private async Task<(int Code, string Output, string Errors)> RunAsync(string arguments)
    {
        using var process = Start(arguments);
        using var deadline = new CancellationTokenSource(s_limit);
        var output = process.StandardOutput.ReadToEndAsync(deadline.Token);
        var errors = process.StandardError.ReadToEndAsync(deadline.Token);
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw new TimeoutException($"kubectl {arguments} did not end within {s_limit}");
        }

        return (process.ExitCode, await output, await errors);
    }
}
