using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Upgrading;

/// <summary>Upgrades this node's edgecore and rolls it back: does the steps of <see cref="UpgradeState"/> on files and processes, and notes each in a journal before it begins.</summary>
/// <remarks>The journal, <c>upgrade.json</c> beside the backups, tells a later edgecore or edgectl what became of it: <c>step</c>, <c>version</c>, <c>from</c>, <c>backup</c>, <c>problem</c>, <c>rollBackProblem</c>, <c>job</c>, <c>program</c>.
/// A job that was refused while the journal belongs to another upgrade finds its reason in <c>refused.json</c> beside it: <c>job</c>, <c>problem</c>.</remarks>
internal sealed class NodeUpgrade(NodePlaces node, TimeProvider time, Action<string> say)
{
    private const int WouldBlock = 11; // EWOULDBLOCK, of flock(2)

    private string _version = "";
    private string _from = "";
    private string _job = "";
    private bool _wasConnected;
    private NodeBackup? _backup;

    private string Journal => JournalOf(node.Backups);

    private static string JournalOf(string backups) => Path.Combine(backups, "upgrade.json");

    /// <summary>The program of the last upgrade, which a crash may have taken from its place; null where there was none.</summary>
    public static string? LastProgram(string backups) => ReadJournal(backups).Text("program") is { Length: > 0 } program ? program : null;

    /// <summary>Whether an upgrade or a roll-back was begun here and has not ended: edgectl is still at it, or was cut short. One that got stuck has ended.</summary>
    public static bool IsUnfinished(string backups) => StepOf(backups) is { } step && step != UpgradeStep.Stuck;

    /// <summary>Upgrades; on a failure everything is back as it was, or the state says what is not.</summary>
    /// <param name="job">Key of the cloud's job that asked; empty for an operator.</param>
    /// <exception cref="UpgradeException">Another upgrade runs, or one was cut short; noted for the job.</exception>
    public async Task<UpgradeState> UpgradeAsync(string package, string version, string publicKeyPem, string job, CancellationToken cancellationToken)
    {
        using var held = HoldFor(job);
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
        RefuseUnfinished();
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
        Choose(from);
        return await RunAsync(UpgradeState.FirstOfRollBack with { Problem = TakeOver() }, _ => throw new System.Diagnostics.UnreachableException(), cancellationToken);
    }

    /// <summary>Takes back an upgrade that was cut short, by a power cut or because edgectl was killed.</summary>
    /// <param name="filesOnly">Stops and starts nothing: edgecore does not run, and whoever calls starts it next.</param>
    /// <returns>How it ended; null when there is nothing to do, or edgectl is still at it.</returns>
    /// <exception cref="UpgradeException">Its backup is gone.</exception>
    public async Task<UpgradeState?> RecoverAsync(bool filesOnly, CancellationToken cancellationToken)
    {
        using var held = TryHold();
        if (held is null || !IsUnfinished(node.Backups))
            return null;
        if (!filesOnly)
            new NodeControl(node, time).Check();
        Choose(from: null);
        var wasChanged = StepOf(node.Backups) != UpgradeStep.Stop;
        var problem = TakeOver();
        say(problem);
        if (!filesOnly)
            return await RunAsync(UpgradeState.FirstOfRollBack with { Problem = problem }, _ => throw new System.Diagnostics.UnreachableException(), cancellationToken);
        var state = new UpgradeState(UpgradeStep.PutBack, problem);
        Write(state);
        var failure = wasChanged ? await TryAsync(state, _ => throw new System.Diagnostics.UnreachableException(), cancellationToken) : "";
        state = state with { Step = failure.Length == 0 ? UpgradeStep.RolledBack : UpgradeStep.Stuck, RollBackProblem = failure };
        Write(state);
        return state;
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
        await NodeControl.EndWatchAsync(CancellationToken.None);
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
                if (await control.WatchAsync(cancellationToken) is { Length: > 0 } problem)
                    say($"should edgectl be killed now, nothing goes on in its place: {problem}");
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

    private FileStream Hold() => TryHold() ?? throw new UpgradeException($"another edgectl is at work on {node.Backups}");

    // Null while another edgectl has it; the kernel lets go of it when that one ends, however it does.
    private FileStream? TryHold()
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
        catch (IOException e) when (e.HResult == WouldBlock)
        {
            return null;
        }
        catch (IOException e)
        {
            throw new UpgradeException($"{node.Backups} cannot be written: {e.Message}");
        }
    }

    // The journal is another upgrade's until this one holds the lock and that one has ended, so the reason stands beside it.
    private FileStream HoldFor(string job)
    {
        FileStream? held = null;
        try
        {
            held = Hold();
            RefuseUnfinished();
            return held;
        }
        catch (UpgradeException e)
        {
            held?.Dispose();
            if (job.Length > 0)
                NodeBackup.WritePrivate(Path.Combine(node.Backups, "refused.json"), System.Text.Encoding.UTF8.GetBytes(new JsonObject { ["job"] = job, ["problem"] = e.Message }.ToJsonString()));
            throw;
        }
    }

    private void RefuseUnfinished()
    {
        if (StepOf(node.Backups) is { } left)
            throw new UpgradeException($"an upgrade was cut short at its step {left}; run 'edgectl rollback edge' first");
    }

    private void Choose(string? from)
    {
        var all = NodeBackup.List(node.Backups);
        // After an upgrade that was cut short: its own, not one made since.
        var wanted = from ?? (StepOf(node.Backups) is null ? null : ReadJournal(node.Backups).Text("backup") is { Length: > 0 } named ? named : null);
        _backup = wanted is null ? (all.Count > 0 ? all[0] : null) : all.FirstOrDefault(one => one.Directory == Path.GetFullPath(wanted));
        if (_backup is null)
            throw new UpgradeException(wanted is null ? $"{node.Backups} has no backup" : $"{wanted} is no backup in {node.Backups}; there are: {string.Join(", ", all.Select(one => one.Directory))}");
        _version = _backup.Version;
    }

    // Of an upgrade that did not end, so that its job is told. What became of it; empty where all have ended.
    private string TakeOver()
    {
        if (StepOf(node.Backups) is not { } step)
            return "";
        var journal = ReadJournal(node.Backups);
        (_version, _from, _job) = (journal.Text("version"), journal.Text("from"), journal.Text("job"));
        File.Delete(Path.Combine(node.Backups, "package.tar.gz"));
        return journal.Text("problem") is { Length: > 0 } problem ? problem : $"the upgrade to {_version} was cut short at its step {step}";
    }

    // Where what is not ended stands; null where all have ended.
    private static UpgradeStep? StepOf(string backups)
        => Enum.TryParse<UpgradeStep>(ReadJournal(backups).Text("step"), out var step) && new UpgradeState(step).IsTouched ? step : null;

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
