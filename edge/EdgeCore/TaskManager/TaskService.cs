using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.Images;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.TaskManager;

/// <summary>Does the cloud's jobs for this node, one after the other (kubeedge-wire §5.8): pulls images, changes the config, has edgecore upgraded. What it tells goes through the durable queue.</summary>
/// <remarks>
/// <para>A job's row is on the disk before it begins. One that a stop cut short begins anew at the next start, except a changed config, which is then judged: it has to
/// connect within <see cref="TaskManagerOptions.ConnectWithinSeconds"/>, else the former one comes back and edgecore starts once more; and an upgrade, which edgectl does while
/// edgecore is stopped: its outcome is read and told.</para>
/// <para>An upgrade that waits for its confirmation at the node holds up no other job; a further upgrade takes its place.</para>
/// <para>A job that came from an Edge CloudCore is known by its uid and done once, however often it comes.</para>
/// </remarks>
internal sealed class TaskService : IEdgeModule
{
    private const int WaitingMax = 64;
    private const int RowsMax = 64;
    private const int TimeoutSecondsDefault = 300;
    private static readonly TimeSpan s_callTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_retryFirst = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_retryMost = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_lookEvery = TimeSpan.FromSeconds(1);

    // More than edgectl takes for all of its steps and those back.
    private static readonly TimeSpan s_upgradeWithin = TimeSpan.FromMinutes(15);

    private static readonly Meter s_meter = new("Edge.Core.TaskManager");
    private static readonly Counter<long> s_actions = s_meter.CreateCounter<long>("edge_tasks_actions", description: "Actions of the cloud's jobs that this node has done or failed to do");
    private static readonly Counter<long> s_notTaken = s_meter.CreateCounter<long>("edge_tasks_not_taken", description: "Tasks of the cloud that found 64 waiting; they come again with the next connection");

    private readonly EdgeServices _services;
    private readonly TaskManagerOptions _options;
    private readonly IUplink _uplink;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly NodeLoad _load;
    private readonly NodeUpgrader _upgrader;
    private readonly Action _restart;
    private readonly LocalRows _rows = new("tasks");

    // The upgrade that waits for its confirmation; the reader's loop alone uses it.
    private (string Key, NodeTaskPath Path, JsonObject Content)? _held;

    // Wait, with TryWrite: the cloud sends what is refused here again with the next session.
    private readonly Channel<Message> _waiting = Channel.CreateBounded<Message>(new BoundedChannelOptions(WaitingMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    /// <param name="restart">Ends this run of edgecore; the process then reads its config and starts anew.</param>
    public TaskService(EdgeServices services, Action restart)
    {
        _services = services;
        _options = services.Options.TaskManager;
        _uplink = services.Uplink;
        _time = services.Time;
        _log = services.Loggers.CreateLogger("taskmanager");
        _load = new NodeLoad(services.Options.DataDirectory, services.Time);
        _upgrader = new NodeUpgrader(_options.Upgrade, services.Options.Origin, services.Options.DataDirectory);
        _restart = restart;
    }

    public string Name => "taskmanager";

    /// <summary>Takes a message of group taskmanager. False: too many wait. Never waits.</summary>
    public bool TryTake(Message message)
    {
        if (_waiting.Writer.TryWrite(message))
            return true;
        s_notTaken.Add(1);
        return false;
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            var restarts = await JudgeTrialAsync(cancellationToken);
            foreach (var (key, row) in _rows.Load(_services.Meta).Where(pair => pair.Value.Text("state") == "running").OrderBy(pair => pair.Value.Text("at"), StringComparer.Ordinal))
            {
                if (NodeTaskPath.TryParse(row.Text("resource"), out var path) && row["content"] is JsonObject content && !restarts)
                    restarts = await DoAsync(key, path, content, cancellationToken);
            }

            Task<bool>? comes = null;
            while (!restarts)
            {
                if (_held is { } held && _upgrader.IsConfirmed(held.Content.Text("version"), held.Key))
                    restarts = await DoAsync(held.Key, held.Path, held.Content, cancellationToken);
                else if (_waiting.Reader.TryRead(out var message))
                    restarts = await TakeAsync(message, cancellationToken);
                else
                {
                    comes ??= _waiting.Reader.WaitToReadAsync(cancellationToken).AsTask();
                    if (_held is not null)
                        await Task.WhenAny(comes, Task.Delay(s_lookEvery, _time, cancellationToken));
                    if (_held is null || comes.IsCompleted)
                    {
                        await comes;
                        comes = null;
                    }

                    cancellationToken.ThrowIfCancellationRequested();
                }
            }

            await Task.Delay(Timeout.InfiniteTimeSpan, _time, cancellationToken); // the restart ends this
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping; what runs begins anew.
        }
    }

    // True when edgecore restarts now.
    private async Task<bool> TakeAsync(Message message, CancellationToken cancellationToken)
    {
        if (!NodeTaskPath.TryParse(message.Resource, out var path) || path.Node != _services.Options.NodeName)
        {
            TaskLog.NotTaken(_log, message.Resource, $"it is no task of node '{_services.Options.NodeName}'");
            return false;
        }

        var content = Read(message);
        if (!_options.Enable)
        {
            TaskLog.NotTaken(_log, message.Resource, "modules.taskManager.enable is false");
            await ReportAsync(path, message.Operation, $"modules.taskManager.enable is false in the config of edgecore at '{path.Node}'", "", cancellationToken);
            return false;
        }

        if (content is null)
        {
            await ReportAsync(path, message.Operation, "the task's content is not a JSON object", "", cancellationToken);
            return false;
        }

        // A stock cloud tells no uid; there every message is a job of its own.
        var key = content.Text(NodeTaskWire.JobUid) is { Length: > 0 } uid ? uid : message.Id;
        if (_rows.Get(_services.Meta, key) is not null)
            return false;
        await _rows.PutAsync(_services.Meta, key, new JsonObject
        {
            ["resource"] = message.Resource, ["content"] = content.DeepClone(), ["state"] = "running", ["at"] = KubeObject.MicroTime(_time.GetUtcNow()),
        }, cancellationToken);
        foreach (var (old, _) in _rows.Load(_services.Meta).Where(pair => pair.Value.Text("state") == "done").OrderByDescending(pair => pair.Value.Text("at"), StringComparer.Ordinal).Skip(RowsMax))
            await _rows.DeleteAsync(_services.Meta, old, cancellationToken);
        return await DoAsync(key, path, content, cancellationToken);
    }

    private async Task<bool> DoAsync(string key, NodeTaskPath path, JsonObject content, CancellationToken cancellationToken)
    {
        TaskLog.Begins(_log, path.ToString());
        try
        {
            switch (path.Type)
            {
                case NodeTaskWire.ImagePrePull:
                    await PullAsync(path, content.At("imagePrePullTemplate"), cancellationToken);
                    break;
                case NodeTaskWire.ConfigUpdate:
                    if (await UpdateAsync(key, path, content, cancellationToken))
                        return true;
                    break;
                case NodeTaskWire.NodeUpgrade:
                    if (await UpgradeAsync(key, path, content, cancellationToken))
                        return false; // it waits, and is not done
                    break;
                default:
                    await ReportAsync(path, "Check", $"this version of edgecore does no {path.Type}s", "", cancellationToken);
                    break;
            }
        }
        catch (Exception e) when (e is not (OutOfMemoryException or StoreException) && !cancellationToken.IsCancellationRequested)
        {
            // One job must not hold up the others, nor come back at each start.
            TaskLog.Defect(_log, path.ToString(), e);
            await ReportAsync(path, "Check", $"a defect of edgecore: {e.Message}", "", cancellationToken);
        }

        await DoneAsync(key, cancellationToken);
        return false;
    }

    private async Task PullAsync(NodeTaskPath path, JsonNode? template, CancellationToken cancellationToken)
    {
        var problem = _services.Options.Edged.Enable ? await CheckAsync(template.Texts("checkItems"), cancellationToken) : "modules.edged.enable is false: this node runs no containers";
        if (!await ReportAsync(path, "Check", problem, "", cancellationToken))
            return;
        var wait = TimeSpan.FromSeconds(template.Number(0, "timeoutSeconds") is > 0 and var seconds ? Math.Min(seconds, 1_000_000) : TimeoutSecondsDefault);
        using var late = new CancellationTokenSource(wait, _time);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        using var cri = new Protocol.Cri.CriClient(_services.Options.Edged.RuntimeEndpoint, _time, s_callTimeout);
        var failures = template.Texts("images").Distinct(StringComparer.Ordinal).ToDictionary(image => image, _ => "it was not tried", StringComparer.Ordinal);
        var backoff = new Backoff(new Random(_services.Random.Next()), s_retryFirst, s_retryMost);
        try
        {
            for (var left = template.Number(0, "retryTimes"); ; left--)
            {
                await TryPullAsync(cri, template, failures, stop.Token);
                if (left <= 0 || failures.Values.All(failure => failure.Length == 0))
                    break;
                await Task.Delay(backoff.Next(), _time, stop.Token);
            }
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            foreach (var image in failures.Keys.Where(image => failures[image].Length > 0).ToList())
                failures[image] = $"not done within timeoutSeconds ({wait.TotalSeconds:0}): {failures[image]}";
        }

        var statuses = new JsonArray([.. failures.Select(pair => pair.Value.Length == 0
            ? new JsonObject { ["image"] = pair.Key, ["status"] = "True" }
            : new JsonObject { ["image"] = pair.Key, ["status"] = "False", ["reason"] = pair.Value })]);
        var failed = failures.Count(pair => pair.Value.Length > 0);
        await ReportAsync(path, "Pull", failed == 0 ? "" : $"{failed} of {failures.Count} images could not be pulled: {string.Join("; ", failures.Where(pair => pair.Value.Length > 0).Select(pair => $"{pair.Key}: {pair.Value}"))}",
            statuses.ToJsonString(), cancellationToken);
    }

    private async Task TryPullAsync(Protocol.Cri.CriClient cri, JsonNode? template, Dictionary<string, string> failures, CancellationToken cancellationToken)
    {
        var keyring = new Keyring();
        var problem = await FillAsync(keyring, template.Text("imageSecrets"), cancellationToken);
        foreach (var image in failures.Keys.Where(image => failures[image].Length > 0).ToList())
        {
            if (problem.Length > 0)
                failures[image] = problem;
            else if (!ImageName.TryRepository(image, out var repository, out var error))
                failures[image] = $"it is no image's name: {error}";
            else
            {
                try
                {
                    await ImagePuller.PullAsync(cri, image, keyring.Lookup(repository), cancellationToken);
                    failures[image] = "";
                }
                catch (GrpcException e)
                {
                    failures[image] = e.Detail;
                }
            }
        }
    }

    // The Secret is asked for each time and kept nowhere.
    private async Task<string> FillAsync(Keyring keyring, string secret, CancellationToken cancellationToken)
    {
        if (secret.Length == 0)
            return "";
        if (secret.Split('/') is not [{ Length: > 0 } @namespace, { Length: > 0 } name])
            return $"imageSecrets is '{secret}', must be NAMESPACE/NAME";
        var reply = await new CloudQuery(_uplink, _time).AskAsync($"{@namespace}/{ResourceTypes.Secret}/{name}", null, cancellationToken);
        if (reply.Object is null)
            return $"Secret {secret}: {reply.Problem}";
        return keyring.TryAdd(reply.Object, out var error) ? "" : $"Secret {secret}: {error}";
    }

    // True when edgecore restarts now.
    private async Task<bool> UpdateAsync(string key, NodeTaskPath path, JsonObject content, CancellationToken cancellationToken)
    {
        var (problem, text, note) = ("", "", "");
        var origin = _services.Options.Origin;
        try
        {
            if (origin is null)
                problem = "this edgecore was not started from a config file";
            else
                (text, note) = ConfigChange.Make(origin, _services.Options, content.Map("updateFields"));
        }
        catch (ConfigException e)
        {
            problem = string.Join("; ", e.Problems);
        }

        if (!await ReportAsync(path, "Check", problem, "", cancellationToken, note))
            return false;
        try
        {
            ConfigTrial.BackUp(origin!.Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            problem = $"{ConfigTrial.BackupPath(origin!.Path)} cannot be written: {e.Message}";
        }

        if (!await ReportAsync(path, "BackUp", problem, "", cancellationToken))
            return false;
        try
        {
            ConfigTrial.Begin(origin.Path, text, key, path.ToString());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            ConfigTrial.TakeBack(origin.Path, e.Message);
            ConfigTrial.End(origin.Path);
            await ReportAsync(path, "Update", $"{origin.Path} cannot be written: {e.Message}", "", cancellationToken);
            await ReportAsync(path, "RollBack", "", "", cancellationToken);
            return false;
        }

        TaskLog.ConfigChanged(_log, ConfigTrial.BackupPath(origin.Path));
        _restart();
        return true;
    }

    // True when it waits for somebody at the node to confirm it.
    private async Task<bool> UpgradeAsync(string key, NodeTaskPath path, JsonObject content, CancellationToken cancellationToken)
    {
        var version = content.Text("version");
        var row = _rows.Get(_services.Meta, key)!;
        Process? edgectl = null;
        // A row that says so is of an edgecore before this one: edgectl stopped it, and is at its work or done.
        if (!row.Flag(false, "upgrading"))
        {
            if (!row.Flag(false, "confirming"))
            {
                await ReplaceHeldAsync(path, cancellationToken);
                var problem = _upgrader.Problem();
                if (problem.Length == 0)
                    problem = await CheckAsync(content.Texts("checkItems"), cancellationToken);
                if (problem.Length == 0)
                    problem = await _upgrader.FetchAsync(version, content.At("imageDigestGatter"), cancellationToken);
                if (!await ReportAsync(path, "Check", problem, "", cancellationToken))
                    return false;
            }

            if (content.Flag(false, "requireConfirmation") && !_upgrader.IsConfirmed(version, key))
            {
                try
                {
                    _upgrader.Await(version, key);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    await ReportAsync(path, "WaitingConfirmation", $"what waits cannot be noted for 'edgectl upgrade confirm': {e.Message}", "", cancellationToken);
                    return false;
                }

                if (!row.Flag(false, "confirming")) // else told before edgecore started anew
                {
                    // In this order: a crash between them tells it twice, not never.
                    await ReportAsync(path, "WaitingConfirmation", "", "", cancellationToken);
                    row["confirming"] = true;
                    await _rows.PutAsync(_services.Meta, key, row, cancellationToken);
                }

                _held = (key, path, content);
                return true;
            }

            _held = null;
            // The cloud waits for a confirmation without end; from here its timeout counts again, also where nothing more comes.
            if (content.Flag(false, "requireConfirmation"))
                await ReportAsync(path, "WaitingConfirmation", "", "", cancellationToken, NodeTaskWire.Confirmed);
            row["upgrading"] = true;
            await _rows.PutAsync(_services.Meta, key, row, cancellationToken);
            try
            {
                edgectl = _upgrader.Begin(version, key);
            }
            catch (System.ComponentModel.Win32Exception e)
            {
                await ReportAsync(path, "BackUp", $"edgectl cannot be started: {e.Message}", "", cancellationToken);
                return false;
            }
        }

        using (edgectl)
        {
            var end = await EndAsync(key, edgectl, cancellationToken);
            _upgrader.Forget(); // only now: after a stop before it the confirmation still counts
            await TellAsync(path, end, _upgrader.Step(key), cancellationToken);
        }

        return false;
    }

    // There is one package and one confirmation at a node: who asks last is meant, as with a stock edge.
    private async Task ReplaceHeldAsync(NodeTaskPath by, CancellationToken cancellationToken)
    {
        if (_held is not { } held)
            return;
        _held = null;
        _upgrader.Forget();
        await ReportAsync(held.Path, "BackUp", $"NodeUpgradeJob '{by.Job}' came before it was confirmed and takes its place", "", cancellationToken);
        await DoneAsync(held.Key, cancellationToken);
    }

    private async Task<UpgradeEnd?> EndAsync(string key, Process? edgectl, CancellationToken cancellationToken)
    {
        var since = _time.GetTimestamp();
        while (true)
        {
            // In this order: it notes its end before it exits. One that began before this edgecore did is known by its lock; a power cut or a kill lets go of it.
            var isOver = edgectl?.HasExited ?? !_upgrader.IsAtWork();
            isOver |= _time.GetElapsedTime(since) > s_upgradeWithin;
            if (_upgrader.End(key) is { } end)
                return end;
            if (isOver)
                return null;
            await Task.Delay(s_lookEvery, _time, cancellationToken);
        }
    }

    private async Task TellAsync(NodeTaskPath path, UpgradeEnd? end, string step, CancellationToken cancellationToken)
    {
        switch (end?.End)
        {
            case null when step.Length > 0:
                await ReportAsync(path, "BackUp", $"the upgrade was cut short at its step {step}; run 'edgectl rollback edge --if-unfinished' at the node", "", cancellationToken);
                break;
            case null:
                await ReportAsync(path, "BackUp", "edgectl did not say how the upgrade ended; see edgecore's log at the node, and 'edgectl rollback edge --list' there", "", cancellationToken);
                break;
            case "Refused":
                await ReportAsync(path, "BackUp", end.Problem, "", cancellationToken);
                break;
            default:
                await ReportAsync(path, "BackUp", "", "", cancellationToken);
                if (await ReportAsync(path, "Upgrade", end.Problem, $"{end.From},{(end.Problem.Length == 0 ? end.Version : end.From)}", cancellationToken))
                    break;
                await ReportAsync(path, "RollBack", end.RollBackProblem, "", cancellationToken);
                break;
        }
    }

    // The first thing after a start. True when edgecore restarts now.
    private async Task<bool> JudgeTrialAsync(CancellationToken cancellationToken)
    {
        if (_services.Options.Origin is not { } origin || ConfigTrial.Load(origin.Path) is not { } trial || !NodeTaskPath.TryParse(trial.Resource, out var path))
            return false;
        if (trial.Failure is { } failure)
        {
            await ReportAsync(path, "Update", failure, "", cancellationToken);
            await ReportAsync(path, "RollBack", "", "", cancellationToken);
            await DoneAsync(trial.Job, cancellationToken);
            ConfigTrial.End(origin.Path);
            return false;
        }

        if (!await ConnectsAsync(TimeSpan.FromSeconds(_options.ConnectWithinSeconds), cancellationToken))
        {
            var reason = $"with the changed config edgecore did not connect to the cloud within {_options.ConnectWithinSeconds} s (modules.taskManager.connectWithin)";
            if (ConfigTrial.TakeBack(origin.Path, reason) is not null)
            {
                TaskLog.ConfigTakenBack(_log, reason);
                _restart();
                return true;
            }

            await ReportAsync(path, "Update", reason, "", cancellationToken);
            await ReportAsync(path, "RollBack", $"{ConfigTrial.BackupPath(origin.Path)} is gone", "", cancellationToken);
        }
        else
            await ReportAsync(path, "Update", "", "", cancellationToken);

        await DoneAsync(trial.Job, cancellationToken);
        ConfigTrial.End(origin.Path);
        return false;
    }

    private async Task<bool> ConnectsAsync(TimeSpan within, CancellationToken cancellationToken)
    {
        var connected = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Changed(bool isUp)
        {
            if (isUp)
                connected.TrySetResult();
        }

        _uplink.LinkChanged += Changed;
        try
        {
            if (_uplink.IsConnected)
                return true;
            await connected.Task.WaitAsync(within, _time, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
        finally
        {
            _uplink.LinkChanged -= Changed;
        }
    }

    private async Task<string> CheckAsync(IEnumerable<string> items, CancellationToken cancellationToken)
    {
        foreach (var item in items.Distinct(StringComparer.Ordinal))
        {
            if (item is not ("cpu" or "mem" or "disk"))
                return $"checkItems has '{item}', must be cpu, mem or disk";
            if (await _load.PercentAsync(item, cancellationToken) is not { } percent)
                return $"how much of {item} is in use cannot be read";
            if (percent > _options.CheckPercentMax)
                return string.Create(CultureInfo.InvariantCulture, $"{percent:0.0} % of {item} is in use, more than {_options.CheckPercentMax} % (modules.taskManager.checkPercentMax)");
        }

        return "";
    }

    // A note tells more of what succeeded. One key an action: what is told again after a crash replaces what waits. True when the action succeeded.
    private async Task<bool> ReportAsync(NodeTaskPath path, string action, string problem, string extend, CancellationToken cancellationToken, string note = "")
    {
        if (problem.Length == 0)
            TaskLog.Done(_log, path.ToString(), action);
        else
            TaskLog.Failed(_log, path.ToString(), action, problem);
        s_actions.Add(1, new KeyValuePair<string, object?>("result", problem.Length == 0 ? "ok" : "failed"));
        var report = new NodeTaskReport(action, problem.Length == 0, KubeObject.Time(_time.GetUtcNow()), problem.Length == 0 ? note : problem, extend);
        await _uplink.PostAsync(
            new UplinkEntry($"{path}/{action}", UplinkPriority.NodeStatus, UplinkRule.Newest, Sources.WebSocket, NodeTaskWire.HubGroup, NodeTaskWire.Report, path.ToString(), report.Write()), cancellationToken);
        return problem.Length == 0;
    }

    private async Task DoneAsync(string key, CancellationToken cancellationToken)
    {
        if (_rows.Get(_services.Meta, key) is not { } row)
            return;
        row["state"] = "done";
        row.Remove("content");
        await _rows.PutAsync(_services.Meta, key, row, cancellationToken);
    }

    private static JsonObject? Read(Message message)
    {
        try
        {
            return JsonNode.Parse(MessageCodec.Unwrap(message.Content).Span) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
