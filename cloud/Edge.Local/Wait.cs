namespace Edge.Local;

/// <summary>Waits for a condition that only asking can tell.</summary>
public static class Wait
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50);

    /// <summary>Asks until the answer is true; after <paramref name="timeout"/> throws <see cref="TimeoutException"/> that says what was waited for and,
    /// when the last question failed, how.</summary>
    public static async Task UntilAsync(
        string description, Func<CancellationToken, Task<bool>> condition, TimeSpan timeout, TimeProvider time, CancellationToken cancellationToken)
    {
        var started = time.GetTimestamp();
        Exception? last = null;
        while (true)
        {
            try
            {
                if (await condition(cancellationToken))
                    return;
                last = null;
            }
            catch (Exception e) when (e is Kubernetes.KubeException or IOException or Processes.ToolException)
            {
                // The one asked may not be up yet; what it said last stands in the failure.
                last = e;
            }

            if (time.GetElapsedTime(started) > timeout)
                throw new TimeoutException($"{description}: not within {timeout.TotalSeconds:0.#} s{(last is null ? "" : $"; last answer: {last.Message}")}", last);
            await Task.Delay(s_pause, time, cancellationToken);
        }
    }
}
