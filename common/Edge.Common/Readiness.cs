using System.Text;

namespace Edge.Common;

/// <summary>Whether a process can do its work: named checks, asked at each <c>/readyz</c>. A check says null when all is well, else what is wrong.</summary>
/// <remarks>Checks run one after the other, each for at most <see cref="CheckWithin"/>; the answer serves whoever asks again within <see cref="FreshFor"/>. One adds at a time; any number may ask.</remarks>
public sealed class Readiness(TimeProvider time) : IDisposable
{
    public static readonly TimeSpan CheckWithin = TimeSpan.FromSeconds(5);

    /// <summary>A prober that asks in a tight loop costs one round of checks in this time.</summary>
    public static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(1);

    private volatile (string Name, Func<CancellationToken, ValueTask<string?>> Check)[] _checks = [];
    private readonly SemaphoreSlim _gate = new(1, 1);
    private (bool IsReady, string Text)? _last;
    private long _lastAt;

    public void Add(string name, Func<CancellationToken, ValueTask<string?>> check) => _checks = [.. _checks, (name, check)];

    public void Add(string name, Func<string?> check) => Add(name, _ => ValueTask.FromResult(check()));

    /// <summary>The verdict, and a text: <c>ok</c>, or a line for each check that fails. With <paramref name="isVerbose"/> a line for every check, as Kubernetes' <c>?verbose</c> has it.</summary>
    public async Task<(bool IsReady, string Text)> AskAsync(bool isVerbose, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (!isVerbose && _last is { } last && time.GetElapsedTime(_lastAt) < FreshFor)
                return last;
            var lines = new StringBuilder();
            var isReady = true;
            foreach (var (name, check) in _checks)
            {
                var problem = await ProblemAsync(check, cancellationToken);
                isReady &= problem is null;
                if (problem is not null)
                    lines.Append("[-]").Append(name).Append(": ").Append(problem.ReplaceLineEndings(" ")).Append('\n');
                else if (isVerbose)
                    lines.Append("[+]").Append(name).Append(" ok\n");
            }

            (bool, string) verdict = (isReady, isReady && !isVerbose ? "ok" : lines.ToString().TrimEnd('\n'));
            if (!isVerbose)
                (_last, _lastAt) = (verdict, time.GetTimestamp());
            return verdict;
        }
        finally
        {
            _gate.Release();
        }
    }

    public void Dispose() => _gate.Dispose();

    private async Task<string?> ProblemAsync(Func<CancellationToken, ValueTask<string?>> check, CancellationToken cancellationToken)
    {
        using var deadline = new CancellationTokenSource(CheckWithin, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            return await check(both.Token).AsTask().WaitAsync(both.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return $"no answer within {CheckWithin.TotalSeconds:0} s";
        }
    }
}
