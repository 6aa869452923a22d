using System.CommandLine;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Edge.Common.Configuration;
using Edge.Common.Security;
using Edge.Ctl.Joining;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl join</c>: checks everything that can be checked before edgecore starts, then writes its config.</summary>
internal static partial class JoinCommand
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    public static Command Create()
    {
        var cloud = new Option<string>("--cloudcore-ipport", "-e") { Description = "Host and port of CloudCore's hub, e.g. 192.0.2.1:10000.", Required = true };
        var token = new Option<string>("--token") { Description = "What 'edgectl gettoken' prints on the cloud's machine.", Required = true };
        var certPort = new Option<int>("--certport") { Description = "Port of CloudCore's enrolment server.", DefaultValueFactory = _ => 10002 };
        var name = new Option<string>("--edgenode-name", "-i") { Description = "The node's name.", DefaultValueFactory = _ => Environment.MachineName.ToLowerInvariant() };
        var runtime = new Option<string>("--remote-runtime-endpoint", "-p") { Description = "CRI socket of the container runtime.", DefaultValueFactory = _ => "unix:///run/containerd/containerd.sock" };
        var driver = new Option<string>("--cgroupdriver") { Description = "cgroupfs or systemd, as the runtime uses.", DefaultValueFactory = _ => "cgroupfs" };
        var labels = new Option<string[]>("--labels", "-l") { Description = "Label of the node, key=value; many with commas or by repeating." };
        var set = new Option<string[]>("--set") { Description = "Any other key of edgecore.yaml, e.g. modules.edgeHub.heartbeat=10." };
        var dataDir = new Option<string?>("--data-dir") { Description = "Where edgecore shall keep everything." };
        var output = new Option<string>("--config-out") { Description = "The config file to write.", DefaultValueFactory = _ => "/etc/kubeedge/config/edgecore.yaml" };
        var start = new Option<bool>("--start") { Description = "Starts edgecore at once, in the foreground." };
        var withSystemd = new Option<bool>("--with-systemd") { Description = "Writes edgecore.service, and starts it where systemd runs." };
        var force = new Option<bool>("--force", "--yes", "-y") { Description = "Joins anew where this machine has joined before: its config is written anew, and edgecore starts again." };
        var unitDir = new Option<string>("--unit-dir") { Description = "Where the unit goes.", DefaultValueFactory = _ => "/etc/systemd/system" };
        var command = new Command("join", """
            Writes edgecore.yaml for this machine, after checking the token, the cloud's CA and the names.

            Examples:
              edgectl join -e 192.0.2.1:10000 --token "$(edgectl gettoken)" -i press-3
              edgectl join -e 192.0.2.1:10000 --token TOKEN -i press-3 -l line=2,hall=north --set modules.edged.enable=false
              edgectl join -e 192.0.2.1:10000 --token TOKEN -i press-3 --with-systemd
            """)
        {
            cloud, token, certPort, name, runtime, driver, labels, set, dataDir, output, start, withSystemd, unitDir, force,
        };
        command.SetAction(async (parse, cancellationToken) =>
        {
            try
            {
                var plan = new JoinPlan(
                    parse.GetValue(cloud)!, parse.GetValue(token)!, parse.GetValue(certPort), parse.GetValue(name)!, parse.GetValue(runtime)!, parse.GetValue(driver)!,
                    ReadLabels(parse.GetValue(labels) ?? []), parse.GetValue(set) ?? []);
                CheckShape(plan);
                var path = Path.GetFullPath(parse.GetValue(output)!);
                if (File.Exists(path) && !parse.GetValue(force))
                    throw new JoinException($"{path} is there: this machine has joined before; 'edgectl reset' takes that back, and --force writes it anew (what was set in it is gone then)");
                await CheckAsync(plan, cancellationToken);
                var unit = parse.GetValue(withSystemd) ? Path.Combine(Path.GetFullPath(parse.GetValue(unitDir)!), SystemdUnit.Name) : null;
                var program = unit is null ? "" : Programs.Find("edgecore");
                Write(path, Render(plan));
                var data = parse.GetValue(dataDir) is { } given ? Path.GetFullPath(given) : null;
                // The unit of a join before this one is still there for reset to remove.
                var formerUnit = NodeRecord.Read(path)?.UnitFile;
                new NodeRecord(path, data, unit ?? formerUnit, Endpoint(plan.Runtime)).Write();
                Console.WriteLine($"wrote {path}; it holds the token, so only its owner can read it");
                if (!File.Exists(SocketPath(plan.Runtime)))
                    Console.WriteLine($"note: the container runtime's socket {SocketPath(plan.Runtime)} does not exist yet; edgecore runs without pods until it does");
                if (unit is not null)
                    return await InstallAsync(unit, program, path, data, cancellationToken);
                if (parse.GetValue(start))
                    return await StartAsync(path, data, cancellationToken);
                Console.WriteLine(formerUnit is null ? $"now start the node:  {string.Join(' ', Arguments(path, data).Prepend("edgecore").Select(ShellWord))}" : "edgecore reads it at its next start:  systemctl restart edgecore");
                return 0;
            }
            catch (Exception e) when (e is JoinException or ConfigException or IOException or UnauthorizedAccessException)
            {
                Console.Error.WriteLine($"edgectl join: {e.Message}");
                return 1;
            }
        });
        return command;
    }

    /// <summary>edgecore.yaml of a checked plan.</summary>
    internal static string Render(JoinPlan plan)
    {
        var (host, _) = HostPort(plan.Cloud);
        var yaml = new StringBuilder();
        void Line(string text) => yaml.Append(text).Append('\n');
        Line("apiVersion: edgecore.config.kubeedge.io/v1alpha2");
        Line("kind: EdgeCore");
        Line("modules:");
        Line("  edgeHub:");
        Line($"    httpServer: {Quote($"https://{host}:{plan.CertPort}")}");
        Line($"    token: {Quote(plan.Token.Trim())}");
        Line("    websocket:");
        Line("      enable: true");
        Line($"      server: {Quote(plan.Cloud)}");
        Line("  edged:");
        Line($"    hostnameOverride: {Quote(plan.NodeName)}");
        if (plan.Labels.Count > 0)
        {
            Line("    nodeLabels:");
            foreach (var (key, value) in plan.Labels)
                Line($"      {Quote(key)}: {Quote(value)}");
        }

        Line("    tailoredKubeletConfig:");
        Line($"      containerRuntimeEndpoint: {Quote(Endpoint(plan.Runtime))}");
        Line($"      cgroupDriver: {Quote(plan.CgroupDriver)}");
        return plan.Set.Count == 0 ? yaml.ToString() : SetKeys.Apply(yaml.ToString(), plan.Set);
    }

    internal static void CheckShape(JoinPlan plan)
    {
        HostPort(plan.Cloud);
        if (!JoinToken.TryParse(plan.Token, out _, out var why))
            throw new JoinException($"--token is malformed: {why}; print a new one with 'edgectl gettoken'");
        if (plan.NodeName.Length > 253 || !NamePattern().IsMatch(plan.NodeName))
        {
            throw new JoinException($"--edgenode-name '{plan.NodeName}' must be a DNS-1123 subdomain: at most 253 lower-case letters, digits, '-' and '.', "
                + "each part starting and ending with a letter or digit");
        }

        if (plan.CgroupDriver is not ("cgroupfs" or "systemd"))
            throw new JoinException($"--cgroupdriver '{plan.CgroupDriver}' must be cgroupfs or systemd");
        if (!Endpoint(plan.Runtime).StartsWith("unix:///", StringComparison.Ordinal))
            throw new JoinException($"--remote-runtime-endpoint '{plan.Runtime}' must be unix:///PATH");
        if (plan.CertPort is < 1 or > 65535)
            throw new JoinException($"--certport {plan.CertPort} must be from 1 to 65535");
    }

    internal static SortedDictionary<string, string> ReadLabels(IEnumerable<string> texts)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var text in texts.SelectMany(one => one.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)))
        {
            var equals = text.IndexOf('=', StringComparison.Ordinal);
            if (equals < 1 || !LabelKeyPattern().IsMatch(text[..equals]) || !LabelValuePattern().IsMatch(text[(equals + 1)..]))
                throw new JoinException($"--labels '{text}' must be key=value of a Kubernetes label, e.g. line=2");
            labels[text[..equals]] = text[(equals + 1)..];
        }

        return labels;
    }

    private static async Task CheckAsync(JoinPlan plan, CancellationToken cancellationToken)
    {
        var (host, port) = HostPort(plan.Cloud);
        var url = $"https://{host}:{plan.CertPort}/ca.crt";
        byte[] ca;
        try
        {
            // Not verified: the token's hash decides whether this is the right cloud. Nothing secret is sent.
            using var handler = new SocketsHttpHandler { UseProxy = false };
            handler.SslOptions.RemoteCertificateValidationCallback = (_, server, _, _) => server is not null;
            using var http = new HttpClient(handler) { Timeout = s_timeout, MaxResponseContentBufferSize = 1024 * 1024 };
            ca = await http.GetByteArrayAsync(new Uri(url), cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException || (e is TaskCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new JoinException($"{url} cannot be reached: {Innermost(e)}; is CloudCore running, and is --certport its enrolment port?");
        }

        if (!JoinToken.TryParse(plan.Token, out var token, out _) || !token!.IsFor(ca))
        {
            throw new JoinException($"the CA served at {url} is not the one that --token names: the token is of another cloud (print a new one with 'edgectl gettoken' there), "
                + "or something between here and there answers in CloudCore's place");
        }

        using var socket = new TcpClient();
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(s_timeout);
        try
        {
            await socket.ConnectAsync(host.Trim('[', ']'), port, deadline.Token);
        }
        catch (Exception e) when (e is SocketException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new JoinException($"CloudCore's hub {plan.Cloud} (--cloudcore-ipport) cannot be reached: {e.Message}");
        }
    }

    private static async Task<int> InstallAsync(string unit, string program, string config, string? dataDirectory, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(unit)!);
        await File.WriteAllTextAsync(unit, SystemdUnit.Render(program, Programs.Find("edgectl"), config, dataDirectory), cancellationToken);
        Console.WriteLine($"wrote {unit}");
        if (!SystemdUnit.IsRunning)
        {
            Console.WriteLine("systemd does not run here; where it does:  systemctl daemon-reload && systemctl enable --now edgecore");
            return 0;
        }

        await SystemdUnit.ControlAsync(cancellationToken, "daemon-reload");
        await SystemdUnit.ControlAsync(cancellationToken, "enable", SystemdUnit.Name);
        // One that runs already would go on with the former config.
        await SystemdUnit.ControlAsync(cancellationToken, "restart", SystemdUnit.Name);
        Console.WriteLine("edgecore.service is started; its log:  journalctl -u edgecore -f");
        return 0;
    }

    // What edgecore is started with, a word each.
    private static IReadOnlyList<string> Arguments(string config, string? dataDirectory) => dataDirectory is null ? ["--config", config] : ["--config", config, "--data-dir", dataDirectory];

    // As a POSIX shell reads it back.
    private static string ShellWord(string word)
        => word.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '-' or '_') ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    private static async Task<int> StartAsync(string config, string? dataDirectory, CancellationToken cancellationToken)
    {
        var beside = Path.Combine(AppContext.BaseDirectory, "edgecore");
        var start = new System.Diagnostics.ProcessStartInfo(File.Exists(beside) ? beside : "edgecore", Arguments(config, dataDirectory));
        try
        {
            using var process = System.Diagnostics.Process.Start(start) ?? throw new JoinException("edgecore could not be started");
            await process.WaitForExitAsync(cancellationToken);
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new JoinException($"edgecore could not be started ({e.Message}); put it on PATH, or beside edgectl");
        }
    }

    private static void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var aside = path + ".tmp";
        if (File.Exists(aside))
            File.Delete(aside);
        using (var file = new FileStream(aside, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
            file.Write(Encoding.UTF8.GetBytes(text));
        File.Move(aside, path, overwrite: true);
    }

    private static (string Host, int Port) HostPort(string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon > 0 && int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536
            && Uri.CheckHostName(text[..colon].Trim('[', ']')) != UriHostNameType.Unknown)
        {
            return (text[..colon], port);
        }

        throw new JoinException($"--cloudcore-ipport '{text}' must be HOST:PORT, e.g. 192.0.2.1:10000");
    }

    private static string Endpoint(string runtime) => runtime.StartsWith('/') ? "unix://" + runtime : runtime;

    private static string SocketPath(string runtime) => Endpoint(runtime)["unix://".Length..];

    // A single-quoted YAML scalar: only the quote itself needs doubling (YAML 1.2 §7.3.2).
    private static string Quote(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";

    private static string Innermost(Exception e)
    {
        while (e.InnerException is { } inner)
            e = inner;
        return e.Message;
    }

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"\A([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\z")]
    private static partial Regex LabelKeyPattern();

    [GeneratedRegex(@"\A([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\z")]
    private static partial Regex LabelValuePattern();
}

/// <summary>What join was asked to do.</summary>
internal sealed record JoinPlan(
    string Cloud, string Token, int CertPort, string NodeName, string Runtime, string CgroupDriver, IReadOnlyDictionary<string, string> Labels, IReadOnlyList<string> Set);

/// <summary>Joining cannot go on; the message says what, where and how to mend it.</summary>
internal sealed class JoinException(string message) : Exception(message);
