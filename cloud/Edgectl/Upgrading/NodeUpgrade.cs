using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Upgrading;

/// <summary>Upgrades this node's edgecore and rolls it back: does the steps of <see cref="UpgradeState"/> on files and processes, and notes each in a journal before it begins.</summary>
/// <remarks>The journal, <c>upgrade.json</c> beside the backups, tells a later edgecore or edgectl what became of it: <c>step</c>, <c>version</c>, <c>from</c>, <c>backup</c>, <c>problem</c>, <c>rollBackProblem</c>, <c>job</c>, <c>program</c>.</remarks>
internal sealed class NodeUpgrade(NodePlaces node, TimeProvider time, Action<string> say)
{
    private string _version = "";
    private string _from = "";
    private string _job = "";
    private bool _wasConnected;
    private NodeBackup? _backup;

    private string Journal => JournalOf(node.Backups);

    private static string JournalOf(string backups) => Path.Combine(backups, "upgrade.json");

    /// <summary>The program of the last upgrade, which a crash may have taken from its place; null where there was none.</summary>
    public static string? LastProgram(string backups) => ReadJournal(backups).Text("program") is { Length: > 0 } program ? program : null;

    /// <summary>Upgrades; on a failure everything is back as it was, or the state says what is not.</summary>
    /// <param name="job">Key of the cloud's job that asked; empty for an operator.</param>
    /// <exception cref="UpgradeException">Another upgrade runs, or one was cut short.</exception>
    public async Task<UpgradeState> UpgradeAsync(string package, string version, string publicKeyPem, string job, CancellationToken cancellationToken)
    {
        using var held = Hold();
        if (Unfinished() is { } left)
            throw new UpgradeException($"an upgrade was cut short at its step {left}; run 'edgectl rollback edge' first");
        (_version, _job) = (version, job);
        var copy = Path.Combine(node.Backups, "package.tar.gz");
        try
        {
            return await RunAsync(UpgradeState.First, step => DoAsync(step, package, publicKeyPem, copy, cancellationToken), cancellationToken);
        }
        finally
        {
            File.Delete(copy);
            ProgramDirectory.Remove(ProgramDirectory.Staging(node.Program));
        }
    }

    /// <summary>Checks a package as <see cref="UpgradeAsync"/> would before it touches anything.</summary>
    /// <exception cref="UpgradeException">It would be refused.</exception>
    public async Task CheckAsync(string package, string version, string publicKeyPem, CancellationToken cancellationToken)
    {
        using var held = Hold();
        _version = version;
        var copy = Path.Combine(node.Backups, "package.tar.gz");
        try
        {
            foreach (var step in (UpgradeStep[])[UpgradeStep.Verify, UpgradeStep.Unpack, UpgradeStep.Try])
                await DoAsync(step, package, publicKeyPem, copy, cancellationToken);
        }
        finally
        {
            File.Delete(copy);
            ProgramDirectory.Remove(ProgramDirectory.Staging(node.Program));
        }
    }

    /// <summary>Puts a backup back.</summary>
    /// <exception cref="UpgradeException">There is none, or an upgrade runs.</exception>
    public async Task<UpgradeState> RollBackAsync(string? from, CancellationToken cancellationToken)
    {
        using var held = Hold();
        new NodeControl(node, time).Check();
        var all = NodeBackup.List(node.Backups);
        // After an upgrade that was cut short: its own, not one made since.
        var wanted = from ?? (Unfinished() is null ? null : ReadJournal(node.Backups).Text("backup") is { Length: > 0 } named ? named : null);
        _backup = wanted is null ? (all.Count > 0 ? all[0] : null) : all.FirstOrDefault(one => one.Directory == Path.GetFullPath(wanted));
        if (_backup is null)
            throw new UpgradeException(wanted is null ? $"{node.Backups} has no backup" : $"{wanted} is no backup in {node.Backups}; there are: {string.Join(", ", all.Select(one => one.Directory))}");
        using (var control = new NodeControl(node, time))
            _wasConnected = (await control.LookAsync(cancellationToken)).IsConnected;
        _version = _backup.Version;
        return await RunAsync(UpgradeState.FirstOfRollBack, _ => throw new System.Diagnostics.UnreachableException(), cancellationToken);
    }

    /// <summary>Makes a backup.</summary>
    /// <exception cref="UpgradeException">It cannot be made, or an upgrade runs.</exception>
    public async Task<NodeBackup> BackUpAsync(CancellationToken cancellationToken)
    {
        using var held = Hold();
        return NodeBackup.Make(node, await NodeControl.VersionAsync(node.Program, cancellationToken), time);
    }

    private async Task<UpgradeState> RunAsync(UpgradeState state, Func<UpgradeStep, Task> does, CancellationToken cancellationToken)
    {
        for (; !state.IsEnd; state = state.Next(await TryAsync(state, does, cancellationToken)))
        {
            Write(state);
            say($"{state.Step}");
        }

        Write(state);
        return state;
    }

    // What went wrong; empty when the step is done.
    private async Task<string> TryAsync(UpgradeState state, Func<UpgradeStep, Task> does, CancellationToken cancellationToken)
    {
        try
        {
            if (state.IsRollBack)
                await UndoAsync(state.Step);
            else
            {
                cancellationToken.ThrowIfCancellationRequested();
                await does(state.Step);
            }

            return "";
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            say("stopped by its operator");
            return $"it was stopped at the step {state.Step}";
        }
        catch (Exception e) when (e is UpgradeException or IOException or UnauthorizedAccessException)
        {
            var problem = e.Message.ReplaceLineEndings(" ");
            say($"{state.Step} failed: {problem}");
            return problem;
        }
    }

    private async Task DoAsync(UpgradeStep step, string package, string publicKeyPem, string copy, CancellationToken cancellationToken)
    {
        using var control = new NodeControl(node, time);
        switch (step)
        {
            case UpgradeStep.Verify:
                control.Check();
                if (!node.ReadConfig().Flag(true, "commonConfig", "monitorServer", "enable"))
                    throw new UpgradeException($"commonConfig.monitorServer.enable is false in {node.Config}: whether the new edgecore is ready could not be seen");
                _from = await NodeControl.VersionAsync(node.Program, cancellationToken);
                NodePackage.CopyVerified(package, publicKeyPem, copy);
                break;
            case UpgradeStep.BackUp:
                _backup = NodeBackup.Make(node, _from, time);
                break;
            case UpgradeStep.Unpack:
                NodePackage.Unpack(copy, _version, ProgramDirectory.MakeStaging(node.Program));
                break;
            case UpgradeStep.Try:
                var says = await NodeControl.VersionAsync(ProgramDirectory.Staging(node.Program), cancellationToken);
                if (says.TrimStart('v') != _version.TrimStart('v'))
                    throw new UpgradeException($"the edgecore in the package says that it is version '{says}', not '{_version}'");
                await control.TryConfigAsync(ProgramDirectory.Staging(node.Program), cancellationToken);
                _wasConnected = (await control.LookAsync(cancellationToken)).IsConnected;
                break;
            case UpgradeStep.Stop:
                await control.StopAsync(cancellationToken);
                break;
            case UpgradeStep.Swap:
                ProgramDirectory.Replace(node.Program);
                break;
            case UpgradeStep.Start:
                await control.StartAsync(cancellationToken);
                break;
            case UpgradeStep.AwaitReady:
                await control.AwaitReadyAsync(_wasConnected, cancellationToken);
                break;
            default:
                throw new System.Diagnostics.UnreachableException($"{step} is no step of an upgrade");
        }
    }

    // Never interrupted: a node between two versions is worse than either.
    private async Task UndoAsync(UpgradeStep step)
    {
        using var control = new NodeControl(node, time);
        switch (step)
        {
            case UpgradeStep.StopAgain:
                await control.StopAsync(CancellationToken.None);
                break;
            case UpgradeStep.PutBack:
                foreach (var line in _backup!.PutBack(node))
                    say($"put back {line}");
                break;
            case UpgradeStep.StartFormer:
                await control.StartAsync(CancellationToken.None);
                break;
            case UpgradeStep.AwaitFormer:
                // Ready is enough: the link may be down by now, which the former one cannot help.
                await control.AwaitReadyAsync(connected: false, CancellationToken.None);
                break;
            default:
                throw new System.Diagnostics.UnreachableException($"{step} is no step of a roll-back");
        }
    }

    private FileStream Hold()
    {
        try
        {
            NodeBackup.MakePrivate(node.Backups);
            return new FileStream(Path.Combine(node.Backups, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new UpgradeException($"{e.Message}; run this as the user that edgecore runs as");
        }
        catch (IOException e)
        {
            throw new UpgradeException($"another edgectl is at work on {node.Backups}, or it cannot be written: {e.Message}");
        }
    }

    private UpgradeStep? Unfinished()
        => Enum.TryParse<UpgradeStep>(ReadJournal(node.Backups).Text("step"), out var step) && new UpgradeState(step).IsTouched ? step : null;

    private static JsonNode? ReadJournal(string backups)
    {
        try
        {
            return File.Exists(JournalOf(backups)) ? JsonNode.Parse(File.ReadAllText(JournalOf(backups))) : null;
        }
        catch (JsonException)
        {
            return null; // it is written whole, so this is nobody's journal
        }
    }

    private void Write(UpgradeState state)
    {
        var json = new JsonObject
        {
            ["step"] = state.Step.ToString(), ["version"] = _version, ["from"] = _from, ["backup"] = _backup?.Directory ?? "", ["problem"] = state.Problem,
            ["rollBackProblem"] = state.RollBackProblem, ["job"] = _job, ["program"] = Path.Combine(node.Program, NodePackage.Program), ["time"] = KubeObject.Time(time.GetUtcNow()),
        };
        NodeBackup.WritePrivate(Journal, System.Text.Encoding.UTF8.GetBytes(json.ToJsonString()));
    }
}
