using System.Collections.Concurrent;
using System.Threading.Channels;

namespace Edge.Core.Edged.Probes;

/// <summary>The shell around one pod's <see cref="PodProbes"/>: runs what is due and tells the pod's worker when a verdict changes. It has a loop of its own, so that
/// a worker that pulls an image or waits for a hook holds up no probe. <see cref="Observe"/> and <see cref="Verdicts"/> may be used from any thread.</summary>
/// <param name="changed">Called after <see cref="Verdicts"/> has changed.</param>
internal sealed class PodProber(PodContext context, PodProbes probes, Action changed, ReportEvent report)
{
    private readonly ProbeRunner _runner = new(context);
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    // Bounded by the number of the pod's probes: each has one run under way at most.
    private readonly ConcurrentQueue<(ProbeRun Run, ProbeResult Result)> _results = new();
    private readonly HashSet<Task> _running = [];
    private Seen? _seen;
    private volatile ProbeVerdicts _verdicts = probes.Verdicts;
    private string _podIp = "";

    /// <summary>What the probes say now.</summary>
    public ProbeVerdicts Verdicts => _verdicts;

    /// <summary>What the worker has just read; only the newest counts.</summary>
    public void Observe(PodDescription pod, PodSnapshot snapshot, string podIp)
    {
        Volatile.Write(ref _seen, new Seen(pod, snapshot, podIp));
        Wake();
    }

    /// <summary>Probes until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                Step(cancellationToken);
                await WaitAsync(cancellationToken);
            }
        }
        finally
        {
            await Task.WhenAll(_running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Step(CancellationToken cancellationToken)
    {
        var now = context.Time.GetUtcNow();
        while (_results.TryDequeue(out var result))
            probes.Note(result.Run, result.Result);
        if (Interlocked.Exchange(ref _seen, null) is { } seen)
        {
            _podIp = seen.PodIp;
            probes.Observe(seen.Pod, seen.Snapshot, now);
        }

        _running.RemoveWhere(task => task.IsCompleted);
        foreach (var run in probes.Start(now))
            _running.Add(ProbeAsync(run, _podIp, cancellationToken));
        if (ReferenceEquals(_verdicts, probes.Verdicts))
            return;
        _verdicts = probes.Verdicts;
        changed();
    }

    private async Task ProbeAsync(ProbeRun run, string podIp, CancellationToken cancellationToken)
    {
        var result = ProbeResult.Error;
        try
        {
            ProbeRunner.Answer answer;
            await context.Probes.WaitAsync(cancellationToken);
            try
            {
                answer = await _runner.RunAsync(run, podIp, cancellationToken);
            }
            finally
            {
                context.Probes.Release();
            }

            result = answer.Result;
            await TellAsync(run, answer, cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // The outermost frame of a run: a defect in one probe is logged and says nothing of the container.
            EdgedLog.ProbeBroke(context.Log, run.Spec.Kind, run.Container.Name, e);
        }

        _results.Enqueue((run, result));
        Wake();
    }

    private ValueTask TellAsync(ProbeRun run, ProbeRunner.Answer answer, CancellationToken cancellationToken) => answer switch
    {
        { Result: ProbeResult.Error } => report(
            true, "Unhealthy", $"{run.Spec.Kind} probe errored and resulted in unknown state: {answer.Text}", run.Container.FieldPath, cancellationToken),
        { Result: ProbeResult.Failure } => report(true, "Unhealthy", $"{run.Spec.Kind} probe failed: {answer.Text}", run.Container.FieldPath, cancellationToken),
        { Warning: true } => report(true, "ProbeWarning", $"{run.Spec.Kind} probe warning: {answer.Text}", run.Container.FieldPath, cancellationToken),
        _ => ValueTask.CompletedTask,
    };

    private async Task WaitAsync(CancellationToken cancellationToken)
    {
        var next = probes.Next;
        var wait = next is { } due ? due - context.Time.GetUtcNow() : Timeout.InfiniteTimeSpan;
        if (next is not null && wait <= TimeSpan.Zero)
            return;
        await using var alarm = next is null ? null : context.Time.CreateTimer(_ => Wake(), null, wait, Timeout.InfiniteTimeSpan);
        await _wake.Reader.ReadAsync(cancellationToken);
    }

    private void Wake() => _wake.Writer.TryWrite(true);

    private sealed record Seen(PodDescription Pod, PodSnapshot Snapshot, string PodIp);
}
