using System.Collections.Concurrent;
using Microsoft.Playwright;

namespace Edge.Cloud.Dashboard.Tests;

/// <summary>Debian's Chromium without a window. Pages keep account of errors in the console and of requests that leave the origin.</summary>
public sealed class Browser : IAsyncLifetime
{
    // What Playwright waits for by itself, 5 s, is too short beside other tests.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    public async Task InitializeAsync()
    {
        if (!File.Exists("/usr/bin/chromium"))
            return; // the tests say so and are skipped
        _playwright = await Playwright.CreateAsync();
        Assertions.SetDefaultExpectTimeout((float)s_patience.TotalMilliseconds);
        _browser = await _playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions { ExecutablePath = "/usr/bin/chromium", Headless = true, Args = ["--disable-gpu", "--disable-dev-shm-usage"] });
    }

    public async Task DisposeAsync()
    {
        if (_browser is not null)
            await _browser.DisposeAsync();
        _playwright?.Dispose();
    }

    internal async Task<Tab> OpenAsync(int port, string path, int width = 1360, int height = 900, ColorScheme colours = ColorScheme.Light)
    {
        var context = await _browser!.NewContextAsync(new BrowserNewContextOptions { ViewportSize = new ViewportSize { Width = width, Height = height }, ColorScheme = colours });
        context.SetDefaultTimeout((float)s_patience.TotalMilliseconds);
        var tab = new Tab(context, await context.NewPageAsync(), $"http://127.0.0.1:{port}");
        await tab.Page.GotoAsync(tab.Origin + path);
        return tab;
    }
}

/// <summary>One page in a profile of its own.</summary>
internal sealed class Tab : IAsyncDisposable
{
    private readonly IBrowserContext _context;
    private readonly ConcurrentQueue<string> _complaints = new();

    public Tab(IBrowserContext context, IPage page, string origin)
    {
        _context = context;
        Page = page;
        Origin = origin;
        page.Console += (_, message) =>
        {
            if (message.Type is "error" or "warning")
                _complaints.Enqueue($"console {message.Type}: {message.Text}");
        };
        page.PageError += (_, error) => _complaints.Enqueue($"error: {error}");
        page.Request += (_, request) =>
        {
            if (!request.Url.StartsWith(origin + "/", StringComparison.Ordinal))
                _complaints.Enqueue($"request off the origin: {request.Url}");
        };
    }

    public IPage Page { get; }

    public string Origin { get; }

    /// <summary>What the page did that it should not.</summary>
    public IReadOnlyCollection<string> Complaints => _complaints;

    /// <summary>Writes <c>artifacts/screenshots/NAME.png</c>, for the eye.</summary>
    public async Task ShootAsync(string name, bool isWhole = false)
    {
        var root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "Edge.sln")))
            root = Path.GetDirectoryName(root);
        await Page.ScreenshotAsync(new PageScreenshotOptions { Path = Path.Combine(root ?? AppContext.BaseDirectory, "artifacts", "screenshots", name + ".png"), FullPage = isWhole });
    }

    /// <summary>True when the page is wider than its window.</summary>
    public Task<bool> OverflowsAsync() => Page.EvaluateAsync<bool>("document.documentElement.scrollWidth > document.documentElement.clientWidth");

    public async ValueTask DisposeAsync() => await _context.DisposeAsync();
}
