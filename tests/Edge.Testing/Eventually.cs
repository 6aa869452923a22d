using System.Runtime.CompilerServices;

namespace Edge.Testing;

/// <summary>Waits for what a test can only see by looking: no event tells it.</summary>
public static class Eventually
{
    /// <summary>How long is looked: a net, far over what it takes on a busy machine.</summary>
    public static readonly TimeSpan Within = Patience.Of(TimeSpan.FromSeconds(90));

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);

    /// <summary>Looks until <paramref name="condition"/> holds, which says itself what is waited for.</summary>
    /// <exception cref="TimeoutException">It did not within <see cref="Within"/>.</exception>
    public static Task HoldsAsync(Func<bool> condition, [CallerArgumentExpression(nameof(condition))] string what = "") => HoldsAsync(what, condition);

    /// <inheritdoc cref="HoldsAsync(string, Func{Task{bool}})"/>
    public static Task HoldsAsync(string what, Func<bool> condition) => HoldsAsync(what, () => Task.FromResult(condition()));

    /// <summary>Looks until <paramref name="condition"/> holds.</summary>
    /// <exception cref="TimeoutException">It did not within <see cref="Within"/>; says <paramref name="what"/>.</exception>
    public static async Task HoldsAsync(string what, Func<Task<bool>> condition)
    {
        var began = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            if (TimeProvider.System.GetElapsedTime(began) > Within)
                throw new TimeoutException($"not within {Within.TotalSeconds:0} s: {what}");
            await Task.Delay(s_pause, TimeProvider.System);
        }
    }
}
