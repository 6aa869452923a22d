using System.Diagnostics;
using Edge.Cloud.Gslb.Zones;
using Edge.GlobalServices.Zones;
using Edge.Gslb.Tests.Zones;
using Edge.Protocol.Dns;

namespace Edge.Benchmarks.Dns;

/// <summary>The test of mutated packets, many more of them: no exception, every answer sound to its last byte, every query that may have an answer gets one.</summary>
internal static class DnsFuzzBench
{
    // A new seed now and then, so that a failure is found again by its seed in little time.
    private const int Each = 500_000;

    public static int Run(long packets, int seed)
    {
        if (!NetworkList.TryParse(["0.0.0.0/0"], out var everyone, out var problem))
            throw new BenchException(problem);
        var report = new Report("dns-fuzz");
        var clock = Stopwatch.StartNew();
        var answers = new SortedDictionary<ResponseCode, long>();
        long done = 0;
        long silent = 0;
        for (; done < packets; seed++)
        {
            var fuzz = new DnsMutation(seed, new AuthoritativeOptions { Nsid = "n", Version = "v", Cookies = new DnsCookies(new byte[16]), EcsResolvers = everyone });
            try
            {
                for (var i = 0; i < Each && done < packets; i++, done++)
                    fuzz.Step();
            }
            catch (InvalidOperationException e)
            {
                Console.Error.WriteLine($"dns-fuzz: seed {seed}: {e}");
                return 1;
            }

            silent += fuzz.Silent;
            foreach (var (code, count) in fuzz.Answers)
                answers[code] = answers.GetValueOrDefault(code) + count;
        }

        report.AtLeast("mutated packets, no exception, every answer sound", "packets", done, 10_000_000);
        report.Plain("packets without an answer: responses and fragments", "packets", silent);
        foreach (var (code, count) in answers)
            report.Plain($"answered {code}", "packets", count);
        report.Plain("packets a second, with the checks", "packets/s", done / clock.Elapsed.TotalSeconds);
        report.Write();
        return 0;
    }
}
