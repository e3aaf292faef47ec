/* What the spawn loops execute. Built twice: with -static and without. */
int main(void)
{
	return 42;
}
