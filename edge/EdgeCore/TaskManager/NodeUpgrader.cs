using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Kubernetes;

namespace Edge.Core.TaskManager;

/// <summary>How an upgrade ended, as edgectl noted it.</summary>
/// <param name="End">Succeeded, Refused, RolledBack or Stuck.</param>
internal sealed record UpgradeEnd(string End, string From, string Version, string Problem, string RollBackProblem);

/// <summary>Fetches packages of edgecore, and hands them to edgectl, which goes on while edgecore is stopped and tells in its journal what became of it.</summary>
internal sealed class NodeUpgrader(UpgradeOptions options, ConfigOrigin? origin, string dataDirectory)
{
    private const long PackageBytesMax = 2L << 30;
    private const int SignatureBytesMax = 1024;
    private const int VersionLengthMax = 64;

    private string Directory => Path.Combine(dataDirectory, "upgrade");

    private string Package => Path.Combine(Directory, "package.tar.gz");

    // What waits, for whoever confirms it, and what was confirmed: a copy of it that 'edgectl upgrade confirm' makes.
    private string WaitingFile => Path.Combine(Directory, "waiting.json");

    private string ConfirmFile => Path.Combine(Directory, "confirmed");

    private static string Architecture => RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "amd64";

    /// <summary>Why this node can do no upgrades; empty when it can.</summary>
    public string Problem()
        => origin is null ? "this edgecore was not started from a config file"
            : options.Source.Length == 0 ? "modules.taskManager.upgrade.source is not set at this node: where packages come from"
            : options.PublicKey.Length == 0 ? "modules.taskManager.upgrade.publicKey is not set at this node: who may sign packages"
            : "";

    /// <summary>Why a text is no version; null where it is one. It becomes part of a path and an argument of edgectl: it has neither a slash, nor a dot or dash in front.</summary>
    public static string? VersionProblem(string version)
        => version.Length is > 0 and <= VersionLengthMax && char.IsAsciiLetterOrDigit(version[0]) && version.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '+') ? null
            : $"spec.version is '{(version.Length > VersionLengthMax ? version[..VersionLengthMax] + "…" : version)}', must be 1 to {VersionLengthMax} letters, digits, '.', '-', '_' and '+', the first a letter or digit";

    /// <summary>Fetches <c>SOURCE/VERSION/edgecore-ARCH.tar.gz</c> and its <c>.sig</c>, and lets edgectl check them.</summary>
    /// <param name="digests">The job's imageDigestGatter: where it names this machine's architecture, the package must have that SHA-256.</param>
    /// <returns>Why not; empty when the package may be installed.</returns>
    public async Task<string> FetchAsync(string version, JsonNode? digests, CancellationToken cancellationToken)
    {
        if (VersionProblem(version) is { } problem)
            return problem;
        var uri = $"{options.Source.TrimEnd('/')}/{version}/edgecore-{Architecture}.tar.gz";
        try
        {
            System.IO.Directory.CreateDirectory(Directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            Forget();
            await DownloadAsync(uri, Package, PackageBytesMax, cancellationToken);
            await DownloadAsync(uri + ".sig", Package + ".sig", SignatureBytesMax, cancellationToken);
            if (digests.Text(Architecture) is { Length: > 0 } wanted)
            {
                await using var file = File.OpenRead(Package);
                var sum = "sha256:" + Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
                if (!string.Equals(sum, wanted, StringComparison.OrdinalIgnoreCase))
                    return $"{uri} has {sum}, not {wanted} (imageDigestGatter.{Architecture})";
            }

            using var process = Start([.. Arguments(version), "--verify"], redirect: true);
            // Both at once: a full pipe would stop it.
            var (output, error) = (process.StandardOutput.ReadToEndAsync(cancellationToken), process.StandardError.ReadToEndAsync(cancellationToken));
            await process.WaitForExitAsync(cancellationToken);
            await output;
            return process.ExitCode == 0 ? "" : (await error).Trim();
        }
        catch (Exception e) when (e is HttpRequestException or IOException or UnauthorizedAccessException or Win32Exception or InvalidDataException
            || e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return $"{uri}: {e.Message}";
        }
        catch (CryptographicException e)
        {
            return $"modules.taskManager.upgrade.caFile {options.CaFile} has no CA certificates in PEM that could be trusted: {e.Message}";
        }
    }

    /// <summary>Notes for 'edgectl upgrade confirm' which upgrade waits for it.</summary>
    /// <exception cref="IOException">The note cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">Likewise.</exception>
    public void Await(string version, string job)
    {
        // Whole or not at all, since edgectl may read it at any moment.
        var beside = WaitingFile + ".tmp";
        using (var file = new FileStream(beside, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
            file.Write(Note(version, job));
        File.Move(beside, WaitingFile, overwrite: true);
    }

    /// <summary>Whether somebody on the node has said yes to this upgrade. A yes that was meant for another one, which this one took the place of, is none.</summary>
    public bool IsConfirmed(string version, string job)
    {
        try
        {
            return File.Exists(ConfirmFile) && File.ReadAllBytes(ConfirmFile).AsSpan().SequenceEqual(Note(version, job));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false; // gone since, or not to be read: nobody said yes
        }
    }

    /// <summary>No upgrade waits any more. A note that cannot be deleted stays, and is a yes to nothing else.</summary>
    public void Forget()
    {
        foreach (var file in (string[])[WaitingFile, ConfirmFile])
        {
            try
            {
                File.Delete(file);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // As said above; the directory may not be there yet.
            }
        }
    }

    /// <summary>Starts the upgrade in a process of its own, which outlives this one. Its words go where edgecore's go.</summary>
    /// <exception cref="Win32Exception">edgectl cannot be started.</exception>
    public Process Begin(string version, string job) => Start([.. Arguments(version), "--job", job], redirect: false);

    /// <summary>How the upgrade of a job ended, or why it was not begun; null while it has not ended.</summary>
    public UpgradeEnd? End(string job)
        => Journal("upgrade.json", job) is { } json && json.Text("step") is ("Succeeded" or "Refused" or "RolledBack" or "Stuck") and var step
            ? new UpgradeEnd(step, json.Text("from"), json.Text("version"), json.Text("problem"), json.Text("rollBackProblem"))
            // While the journal belongs to another upgrade.
            : Journal("refused.json", job) is { } refused ? new UpgradeEnd("Refused", "", "", refused.Text("problem"), "") : null;

    /// <summary>The step at which the upgrade of a job is; empty where it has not begun.</summary>
    public string Step(string job) => Journal("upgrade.json", job).Text("step");

    /// <summary>Whether an edgectl holds the lock beside the journal. Also true before the first one has made it.</summary>
    public bool IsAtWork()
    {
        var path = Path.Combine(options.BackupDirectory, "lock");
        try
        {
            if (!File.Exists(path))
                return true;
            using var free = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.None);
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true; // held, or not to be known
        }
    }

    private JsonObject? Journal(string name, string job)
    {
        try
        {
            var path = Path.Combine(options.BackupDirectory, name);
            return File.Exists(path) && JsonNode.Parse(File.ReadAllText(path)) is JsonObject json && json.Text("job") == job ? json : null;
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static byte[] Note(string version, string job)
        => System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["version"] = version, ["job"] = job }.ToJsonString());

    private List<string> Arguments(string version)
    {
        List<string> arguments =
        [
            "upgrade", "edge", "--package", Package, "--to", version, "--public-key", options.PublicKey, "--config", origin!.Path, "--data-dir", dataDirectory, "--program", Environment.ProcessPath!,
            "--backup-dir", options.BackupDirectory, "--ready-within", options.ReadyWithinSeconds.ToString(CultureInfo.InvariantCulture),
        ];
        if (options.Program is { Length: > 0 } program)
            arguments[arguments.IndexOf("--program") + 1] = program;
        if (options.StopWith.Length > 0)
            arguments.AddRange(["--stop-with", options.StopWith]);
        if (options.StartWith.Length > 0)
            arguments.AddRange(["--start-with", options.StartWith]);
        return arguments;
    }

    private Process Start(IReadOnlyList<string> arguments, bool redirect)
    {
        var start = new ProcessStartInfo(options.Edgectl) { UseShellExecute = false, RedirectStandardOutput = redirect, RedirectStandardError = redirect };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    private async Task DownloadAsync(string uri, string path, long bytesMax, CancellationToken cancellationToken)
    {
        var from = new Uri(uri);
        using var http = from.IsFile ? null : Client();
        await using var source = http is null ? File.OpenRead(from.LocalPath) : await OpenAsync(http, from, cancellationToken);
        await using var to = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite, Options = FileOptions.Asynchronous });
        var buffer = new byte[81_920];
        for (long all = 0; await source.ReadAsync(buffer, cancellationToken) is > 0 and var read;)
        {
            if ((all += read) > bytesMax)
                throw new InvalidDataException($"it has more than {bytesMax} bytes");
            await to.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }
    }

    // No overall deadline of its own: a package over a thin link takes its time, and the cloud's timeoutSeconds counts.
    private HttpClient Client()
    {
        var handler = new SocketsHttpHandler();
        if (options.CaFile.Length > 0)
        {
            var chain = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
            chain.CustomTrustStore.ImportFromPemFile(options.CaFile);
            if (chain.CustomTrustStore.Count == 0)
                throw new CryptographicException("there is none in it");
            handler.SslOptions.CertificateChainPolicy = chain;
        }

        return new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }

    private async Task<Stream> OpenAsync(HttpClient http, Uri from, CancellationToken cancellationToken)
    {
        try
        {
            return await http.GetStreamAsync(from, cancellationToken);
        }
        catch (HttpRequestException e) when (e.InnerException is AuthenticationException inner)
        {
            var trusted = options.CaFile.Length > 0 ? $"the CAs of {options.CaFile} (modules.taskManager.upgrade.caFile)" : "the system's CAs; name others with modules.taskManager.upgrade.caFile";
            throw new IOException($"its server's certificate is not accepted: {inner.Message.TrimEnd('.')}; trusted are {trusted}");
        }
    }
}
