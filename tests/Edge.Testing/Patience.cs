using System.Globalization;

namespace Edge.Testing;

/// <summary>How much longer tests wait than on a usual machine before they give up: <c>EDGE_TEST_PATIENCE</c>, a factor from 1 to 100 (<c>.ci/vm</c> sets it). It bounds failures and
/// delays nothing.</summary>
public static class Patience
{
    public static double Factor { get; } = double.TryParse(Environment.GetEnvironmentVariable("EDGE_TEST_PATIENCE"), NumberStyles.Float, CultureInfo.InvariantCulture, out var factor)
        ? Math.Clamp(factor, 1, 100) : 1;

    public static TimeSpan Of(TimeSpan usual) => usual * Factor;
}
