using Edge.Ctl.Commands;
using Edge.Local.Processes;

namespace Edge.Ctl.Joining;

/// <summary>The unit <c>edgecore.service</c>, and systemd where it runs.</summary>
internal static class SystemdUnit
{
    public const string Name = "edgecore.service";

    /// <summary>systemd is this machine's init, so that units can be started.</summary>
    public static bool IsRunning => Directory.Exists("/run/systemd/system");

    /// <summary>The unit's text.</summary>
    /// <param name="program">Full path of edgecore.</param>
    /// <param name="edgectl">Full path of edgectl.</param>
    public static string Render(string program, string edgectl, string config, string? dataDirectory)
    {
        var where = $"--config {Quote(config)}{(dataDirectory is null ? "" : $" --data-dir {Quote(dataDirectory)}")}";
        return $"""
            # Written by 'edgectl join'; 'edgectl reset' removes it.
            [Unit]
            Description=EdgeCore, the agent of Edge on this node
            Documentation=https://kubeedge.io/docs/
            Wants=network-online.target
            After=network-online.target containerd.service
            # It shall never give up: the node may be where nobody comes by.
            StartLimitIntervalSec=0

            [Service]
            Type=exec
            # An upgrade that a power cut ended is taken back first; else this does nothing. Whatever comes of it, edgecore starts.
            ExecStartPre=-{Quote(edgectl)} rollback edge --if-unfinished --files-only {where}
            ExecStart={Quote(program)} {where}
            # Time enough to put a backup back onto a slow disk.
            TimeoutStartSec=600
            Restart=always
            RestartSec=5
            # Containers go on while edgecore stops; they are not its children.
            KillMode=process
            TimeoutStopSec=15
            LimitNOFILE=1048576
            UMask=0077

            [Install]
            WantedBy=multi-user.target

            """.ReplaceLineEndings("\n");
    }

    /// <summary>Runs systemctl; nothing where systemd does not run.</summary>
    /// <exception cref="JoinException">It failed; with its words.</exception>
    public static async Task ControlAsync(CancellationToken cancellationToken, params string[] arguments)
    {
        if (!IsRunning)
            return;
        var result = await Tool.TryRunAsync("systemctl", arguments, new ToolOptions(TimeProvider.System), cancellationToken);
        if (result.ExitCode != 0)
            throw new JoinException($"systemctl {string.Join(' ', arguments)} ended with {result.ExitCode}: {result.Error.Trim()}");
    }

    // systemd.service(5): in double quotes, with % and $ doubled.
    private static string Quote(string text)
    {
        var escaped = text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("%", "%%", StringComparison.Ordinal)
            .Replace("$", "$$", StringComparison.Ordinal);
        return escaped.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '-' or '_') ? escaped : $"\"{escaped}\"";
    }
}
