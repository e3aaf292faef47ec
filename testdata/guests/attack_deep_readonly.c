/* attack_deep_readonly: changes a file of a read-only bind whose path is longer than PATH_MAX, by its descriptor.
 *
 *   attack_deep_readonly DIR make   natively, to prepare
 *   attack_deep_readonly DIR        every call but the first open must fail */
/* attack: a file deeper than PATH_MAX in a read-only bind */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
int main(int c,char**v){char nm[256];memset(nm,'d',250);nm[250]=0;if(chdir(v[1]))perror("cd");
 if(c>2){for(int i=0;i<20;i++){mkdir(nm,0755);if(chdir(nm))perror("cd");}int f=open("f",O_CREAT|O_RDWR,0644);write(f,"old\n",4);return 0;}
 for(int i=0;i<20;i++)if(chdir(nm))perror("cd");
 int f=open("f",O_RDONLY);printf("open rw: %d %s\n",open("f",O_RDWR),strerror(errno));
 printf("fchmod: %d %s\n",fchmod(f,0666),strerror(errno));errno=0;
 printf("futimens: %d %s\n",futimens(f,0),strerror(errno));errno=0;
 printf("fsetxattr: %d %s\n",fsetxattr(f,"user.x","y",1,0),strerror(errno));errno=0;
 char p[40];sprintf(p,"/proc/self/fd/%d",f);int w=open(p,O_RDWR);printf("reopen: %d %s\n",w,strerror(errno));
 if(w>=0)printf("write %zd\n",write(w,"PWN",3));return 0;}
